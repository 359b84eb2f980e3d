"""Which layers of a compact net are the backbone's alone, from the picture on."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from blocks import Backbone, Plan, TailoredNet, compact
from blocks.untouched import untouched
from blocks.whole import WholeNet


def layers_of(backbone: Backbone, gone: set[str] = frozenset(), **plan: Any) -> list[int]:  # type: ignore[assignment]
    student = TailoredNet(backbone, 3, Plan(skips=1, **plan)).eval()
    student.keep([path for path in student.paths if path.key not in gone])
    net = compact(student)
    steps = untouched(net)
    with torch.no_grad():  # what is said to be the backbone's is computed as the backbone does
        x = torch.randn(2, 3, 16, 16)
        theirs = backbone.activations(x)
        layer = net.stem(x)
        for step in steps:
            if step.path is not None:
                layer = net.acts[str(step.layer)](net.module_of(step.path)(layer))
            assert torch.equal(layer, theirs[step.layer])
    return [step.layer for step in steps]


def test_blocks_alone_are_the_backbones_up_to_the_first_proxy_beside_one(backbone: Backbone) -> None:
    proxies = {f"A{layer - 1}-{layer}" for layer in range(1, 7)}
    assert layers_of(backbone, proxies) == list(range(7))
    assert layers_of(backbone, proxies - {"A2-3"}) == [0, 1, 2]
    assert layers_of(backbone, (proxies | {"G3"}) - {"A2-3"}) == [0, 1, 2], "a proxy alone is the task's"


@pytest.mark.parametrize("plan", [{"batch_norm": "affine"}, {"batch_norm": "stats"}, {"rank": 2}])
def test_what_the_task_owns_from_the_stem_on_leaves_nothing(backbone: Backbone, plan: dict[str, Any]) -> None:
    assert layers_of(backbone, **plan) == []
    prefix = layers_of(backbone, {"A3-4", "A4-5", "A5-6"}, shared_prefix=3, **plan)
    assert prefix == [0, 1, 2, 3], "a shared prefix is the backbone's whatever the plan says of the rest"


def test_a_copied_net_shares_nothing(backbone: Backbone) -> None:
    student = TailoredNet(backbone, 3, Plan(skips=0))
    net = WholeNet(backbone, replace(compact(student).plan, copied=True, gated=False))
    assert untouched(net) == ()


@pytest.mark.parametrize("tuned_from", [0, 1, 4, 7, 8])
def test_a_net_that_was_tuned_from_a_layer_up_shares_what_is_below(backbone: Backbone, tuned_from: int) -> None:
    steps = untouched(compact(backbone.teacher(3, tuned_from), backbone))
    assert [step.layer for step in steps] == list(range(min(tuned_from, backbone.depth + 1)))
