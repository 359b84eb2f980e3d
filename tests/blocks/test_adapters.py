"""What a task adds to frozen kernels: where it starts, what it costs, and whose it is."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from blocks import Plan, TailoredNet, count_macs
from blocks.adapters import LowRank, ResidualAdapter, add_low_rank, is_adaptable
from tests import tiny


def convolution(inputs: int = 6, outputs: int = 8, **settings: object) -> nn.Conv2d:
    torch.manual_seed(0)
    return nn.Conv2d(inputs, outputs, 3, padding=1, **settings)  # type: ignore[arg-type]


def test_a_fresh_student_computes_what_the_backbone_computes() -> None:
    backbone = tiny.tiny_backbone()
    x = torch.randn(2, 3, 16, 16)
    plain, added = (TailoredNet(backbone, 5, Plan(skips=0, rank=rank)).eval() for rank in (0, 2))
    xs, ys = plain.run(x).activations, added.run(x).activations
    assert all(torch.equal(one, other) for one, other in zip(xs, ys, strict=True))  # type: ignore[arg-type]


def test_the_addition_has_its_rank_and_is_one_convolution() -> None:
    plain = convolution(stride=2)
    adapted = LowRank(plain, 2)
    with torch.no_grad():
        adapted.up.normal_()
    x = torch.randn(2, 6, 9, 9)
    wanted = nn.functional.conv2d(x, plain.weight + (adapted.up @ adapted.down).view_as(plain.weight), plain.bias, 2, 1)
    assert torch.allclose(adapted(x), wanted, atol=1e-5)
    assert torch.allclose(adapted.merged()(x), wanted, atol=1e-5)
    assert torch.linalg.matrix_rank(adapted.addition().flatten(1)) == 2


def test_a_residual_adapter_is_a_1x1_convolution_beside_it() -> None:
    plain = convolution(stride=2, bias=False)
    adapted = ResidualAdapter(plain)
    with torch.no_grad():
        adapted.beside.normal_()
    x = torch.randn(2, 6, 9, 9)
    beside = nn.functional.conv2d(x, adapted.beside[:, :, None, None], stride=2)
    assert torch.allclose(adapted(x), plain(x) + beside, atol=1e-5)


@pytest.mark.parametrize(
    ("module", "rank", "expected"),
    [
        (convolution(), 5, True),  # 5 * (8 + 54) < 8 * 54
        (convolution(), 7, False),
        (convolution(8, 8, groups=8), 1, False),
        (nn.Linear(100, 100), 1, False),
    ],
)
def test_only_dense_kernels_larger_than_their_factors_are_adapted(module: nn.Module, rank: int, expected: bool) -> None:
    assert is_adaptable(module, rank) == expected


def test_factors_are_the_tasks_and_cost_parameters_but_no_macs() -> None:
    backbone = tiny.tiny_backbone()
    without, with_rank = (TailoredNet(backbone, 5, Plan(rank=rank)) for rank in (0, 2))
    extra = set(with_rank.task_tensors()) - set(without.task_tensors())
    assert extra
    assert {name.rsplit(".", 1)[-1] for name in extra} == {"up", "down"}
    for path in without.paths:
        assert with_rank.costs[path].macs == without.costs[path].macs
        if path.is_universal:
            assert with_rank.costs[path].params > without.costs[path].params
    assert with_rank.fixed_cost().macs == without.fixed_cost().macs


def test_rank_0_changes_nothing() -> None:
    segment = tiny.tiny_backbone().stem
    assert count_macs(add_low_rank(segment, 0), torch.zeros(1, 3, 16, 16)) == count_macs(
        segment, torch.zeros(1, 3, 16, 16)
    )  # type: ignore[arg-type]
    assert not any(isinstance(part, LowRank) for part in add_low_rank(segment, 0).modules())  # type: ignore[arg-type]
