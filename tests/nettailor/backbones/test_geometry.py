"""The canonical form of a geometry: one description however a layer is spelt, another wherever it computes otherwise."""

from __future__ import annotations

import operator

import pytest
import torch
from torch import Tensor, fx, nn

from blocks import Backbone
from nettailor.backbones.geometry import _segment, canonical_form, describe_module, operation_name


def test_tensors_that_are_saved_nowhere_are_seen_by_their_values() -> None:
    from timm.layers import BlurPool2d

    blur = BlurPool2d(4)
    before = describe_module(blur)
    blur.filt += 0.25
    assert describe_module(blur) != before


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (nn.MaxPool2d(2), nn.MaxPool2d((2, 2), (2, 2))),
        (nn.Conv2d(3, 4, 3, padding="valid"), nn.Conv2d(3, 4, 3)),
        (nn.SiLU(), nn.SiLU(inplace=True)),
        (nn.BatchNorm2d(4), nn.SyncBatchNorm(4)),
        (nn.BatchNorm2d(4, momentum=0.1), nn.BatchNorm2d(4, momentum=0.01)),
    ],
)
def test_two_spellings_of_one_layer(one: nn.Module, other: nn.Module) -> None:
    assert describe_module(one) == describe_module(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (nn.MaxPool2d(2), nn.MaxPool2d(2, ceil_mode=True)),
        (nn.MaxPool2d(2), nn.AvgPool2d(2)),
        (nn.LeakyReLU(0.01), nn.LeakyReLU(0.2)),
        (nn.GELU(), nn.GELU("tanh")),
        (nn.GroupNorm(1, 4), nn.GroupNorm(2, 4)),
        (nn.LayerNorm(4), nn.LayerNorm(4, eps=1e-6)),
        (nn.Conv2d(4, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1, padding_mode="circular")),
    ],
)
def test_layers_that_compute_otherwise(one: nn.Module, other: nn.Module) -> None:
    assert describe_module(one) != describe_module(other)


def test_an_operation_has_one_name_however_it_is_spelt() -> None:
    spelt = {
        "add": (operator.add, operator.iadd, torch.add, "add_", "add"),
        "cat": (torch.cat, torch.concat, torch.concatenate),
        "reshape": (torch.reshape, "view"),
        "silu": (nn.functional.silu, "silu_", "swish"),
        "sub": (operator.sub, operator.isub, torch.sub),
    }
    for name, targets in spelt.items():
        assert {operation_name(target) for target in targets} == {name}
    assert operation_name(torch.mul) != operation_name(torch.add)


def lines_of(forward: object) -> list[str]:
    class Net(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return forward(x)  # type: ignore[operator]

    return _segment(fx.symbolic_trace(Net()), torch.zeros(1, 4, 6, 6))[1]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (lambda x: x.mean((2, 3)), lambda x: torch.mean(x, dim=(2, 3), keepdim=False)),
        (lambda x: x.flatten(1), lambda x: torch.flatten(x, start_dim=1, end_dim=-1)),
        (lambda x: x.relu() + x, lambda x: operator.iadd(x, torch.relu(x))),
        (lambda x: nn.functional.gelu(x), lambda x: nn.functional.gelu(x, approximate="none")),
        (lambda x: x.contiguous().relu(), lambda x: nn.functional.dropout(x, 0.5, training=False).relu()),
    ],
)
def test_two_spellings_of_one_call(one: object, other: object) -> None:
    assert lines_of(one) == lines_of(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (lambda x: x.relu(), lambda x: x.sigmoid()),
        (lambda x: x.exp(), lambda x: x.log()),
        (lambda x: nn.functional.max_pool2d(x, 2), lambda x: nn.functional.avg_pool2d(x, 2)),
        (lambda x: x.mean((2, 3)), lambda x: x.mean((2, 3), keepdim=True)),
        (lambda x: x.relu() - x, lambda x: x - x.relu()),
        (lambda x: x[:, :2], lambda x: x[:, 2:]),
        (lambda x: x * 0.5, lambda x: x * 0.25),
        (lambda x: nn.functional.gelu(x), lambda x: nn.functional.gelu(x, approximate="tanh")),
    ],
)
def test_calls_that_compute_otherwise(one: object, other: object) -> None:
    assert lines_of(one) != lines_of(other)


def test_describing_draws_no_random_number_and_every_segment_has_its_headline(backbone: Backbone) -> None:
    state = torch.get_rng_state()
    lines = canonical_form(backbone)
    assert torch.equal(torch.get_rng_state(), state), "the classifier for two classes takes no number from the run's"
    titles = [line for line in lines if line.startswith(("stem ", "block ", "activation ", "head "))]
    assert titles[0] == "stem [3, 16, 16]"
    assert [line for line in titles if line.startswith("block")] == [f"block {list(s)}" for s in backbone.shapes[:-1]]
    assert titles[-1] == f"head {list(backbone.shapes[-1])}"
