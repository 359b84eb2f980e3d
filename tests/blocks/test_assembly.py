"""Assembly: what a plan's paths need is built, what is not the task's is shared, and costs add up."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn

from blocks import Backbone
from blocks.assembly import HEADS, NetPlan, PooledHead, build_parts, end_costs, path_costs
from blocks.counting import tensors_of
from blocks.paths import UNIVERSAL, Path

PATHS = (Path(1, 0, UNIVERSAL), Path(2, 1, "conv1x1"), Path(4, 0, UNIVERSAL), Path(4, 2, "identity"))
PLAN = NetPlan(PATHS, classes=5)


def pointers(module: nn.Module) -> set[int]:
    return {tensor.data_ptr() for tensor in tensors_of(module).values()}


def test_only_what_the_paths_need_is_built(backbone: Backbone) -> None:
    parts = build_parts(backbone, PLAN)
    assert set(parts.blocks) == {1, 4}
    assert set(parts.proxies) == {(1, 2), (2, 4)}
    assert set(parts.acts) == {1, 2, 4}
    assert PLAN.depth == 4
    assert NetPlan((), 5).depth == 0


@pytest.mark.parametrize(
    ("change", "owned"), [({}, "none"), ({"batch_norm": "affine"}, "norms"), ({"copied": True}, "all")]
)
def test_what_is_not_the_tasks_is_the_backbones_own_tensor(
    backbone: Backbone, change: dict[str, Any], owned: str
) -> None:
    theirs = pointers(backbone)
    parts = build_parts(backbone, replace(PLAN, **change))
    for segment in (parts.stem, *parts.blocks.values()):
        norms = [module for module in segment.modules() if isinstance(module, nn.BatchNorm2d)]
        assert norms
        expected = {"none": set(), "norms": set().union(*map(pointers, norms)), "all": pointers(segment)}[owned]
        assert pointers(segment) - theirs == expected
    assert bool(parts.norms) == (owned == "norms")


@pytest.mark.parametrize("head", HEADS)
def test_every_kind_of_head_gives_the_tasks_classes(backbone: Backbone, head: str) -> None:
    plan = NetPlan(tuple(Path(n, 0, UNIVERSAL) for n in range(1, 7)), 5, head=head)  # type: ignore[arg-type]
    x = torch.randn(2, *backbone.shapes[-1])
    assert build_parts(backbone, plan).head(x).shape == (2, 5)


def test_a_pooled_head_is_the_mean_over_positions_and_a_linear_layer() -> None:
    head, x = PooledHead(4, 3), torch.randn(2, 4, 5, 5)
    expected = x.mean((2, 3)) @ head.classifier.weight.T + head.classifier.bias
    assert torch.allclose(head(x), expected, atol=1e-6)


def test_a_low_rank_addition_costs_parameters_and_no_macs(backbone: Backbone) -> None:
    plain, ranked = build_parts(backbone, PLAN), build_parts(backbone, replace(PLAN, rank=2))
    one, other = (path_costs(backbone, PATHS[0], parts.blocks[1]) for parts in (plain, ranked))
    assert one.macs == other.macs == backbone.block_costs[0].macs
    assert other.params > one.params
    pooled = replace(PLAN, head="pooled")
    heads = [(build_parts(backbone, replace(pooled, rank=rank))) for rank in (0, 2)]
    ends = [end_costs(backbone, pooled, parts.stem, parts.head) for parts in heads]
    assert ends[0].macs == ends[1].macs == backbone.stem_cost.macs + backbone.shapes[4][0] * 5
    assert ends[1].params > ends[0].params
    assert path_costs(backbone, PATHS[1], plain.proxies[1, 2]).macs > 0
