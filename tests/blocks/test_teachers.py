"""What may teach a student: which networks have all activations, and copies of them to compute with."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch

from blocks import Backbone, CompactNet, NetPlan, Path, compact
from blocks.counting import tensors_of
from blocks.paths import UNIVERSAL
from blocks.shallow import ShallowNet
from blocks.teachers import chain_of, gives_activations, has_plain_head
from blocks.top import TOPS, register
from blocks.whole import WholeNet
from tests import fabricated
from tests.blocks.test_top import TwoLast


@pytest.fixture(autouse=True)
def _registered() -> Iterator[None]:
    register(TwoLast)
    yield
    del TOPS["two_last"]


def with_top(backbone: Backbone, tuned_from: int = 0) -> WholeNet:
    """Every block, and a top that reads the last two activations."""
    paths = tuple(Path(layer, 0, UNIVERSAL) for layer in range(1, backbone.depth + 1))
    return WholeNet(backbone, NetPlan(paths, 4, copied=True, gated=False, tuned_from=tuned_from, top=TwoLast()))


def test_which_networks_have_all_activations_are_chains_and_have_a_plain_head(backbone: Backbone) -> None:
    tuned = backbone.teacher(4, 5)
    shallow = compact(ShallowNet(backbone, 3, 4), backbone)
    narrow = compact(tuned, backbone)
    narrow.plan = replace(narrow.plan, widths=(("blocks.1.conv1", (4, 8)),))
    found = {
        "fine-tuned": tuned,
        "compact": compact(tuned, backbone),
        "top": compact(with_top(backbone, 3)),
        "shallow": shallow,
        "narrow": narrow,
        "pruned": fabricated.pruned(backbone),
    }
    facts = {
        name: (gives_activations(net), chain_of(net) is not None, has_plain_head(net)) for name, net in found.items()
    }
    assert facts == {
        "fine-tuned": (True, True, True),
        "compact": (True, True, True),
        "top": (True, True, False),
        "shallow": (False, False, False),
        "narrow": (False, False, True),
        "pruned": (True, False, True),
    }


def test_a_frozen_copy_gives_the_same_and_shares_nothing_but_the_backbone(backbone: Backbone) -> None:
    x = torch.randn(2, 3, 16, 16)
    for net in (with_top(backbone, 3).train(), compact(with_top(backbone, 5)), fabricated.pruned(backbone)):
        twin = net.frozen_copy()
        assert isinstance(twin, CompactNet)
        assert twin.backbone is backbone
        assert not {id(tensor) for tensor in tensors_of(twin).values()} & {
            id(tensor) for tensor in tensors_of(net).values()
        }
        assert not any(parameter.requires_grad for parameter in twin.parameters())
        norms = [module for module in twin.blocks.modules() if isinstance(module, torch.nn.BatchNorm2d)]
        assert not norms, "folded"
        with torch.no_grad():
            found, wanted = twin.activations(x), net.eval().activations(x)
            assert len(found) == backbone.depth + 2
            for ours, theirs in zip(found, wanted, strict=True):
                torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)
            assert torch.equal(twin(x), found[-1])


def test_the_shapes_are_those_of_the_backbone(backbone: Backbone) -> None:
    net = compact(with_top(backbone))
    with torch.no_grad():
        found = net.activations(torch.zeros(1, 3, 16, 16))[:-1]
    assert [tuple(x.shape[1:]) for x in found] == [tuple(shape) for shape in net.shapes] == backbone.shapes
