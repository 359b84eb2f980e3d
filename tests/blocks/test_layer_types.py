"""What kind of layer a module is, whichever library it comes from."""

from __future__ import annotations

import pytest
import torch
from timm.layers import BatchNormAct2d, Conv2dSame, LayerNorm2d, StdConv2d
from torch import nn

from blocks.layer_types import (
    convolves,
    is_activation,
    is_activation_name,
    is_norm,
    is_plain_batch_norm,
    is_plain_convolution,
    mixes_channels,
)


class FilterResponseNorm(nn.Module):
    """Derives from no norm of torch's; its name and its tensor say what it is."""

    def __init__(self) -> None:
        super().__init__()
        self.tau = nn.Parameter(torch.zeros(4))


class ConvNorm(nn.Sequential):
    pass


@pytest.mark.parametrize(
    ("module", "expected"),
    [
        (nn.BatchNorm2d(4), True),
        (nn.InstanceNorm2d(4), True),
        (nn.GroupNorm(2, 4), True),
        (LayerNorm2d(4), True),
        (FilterResponseNorm(), True),
        (ConvNorm(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4)), False),
        (nn.Conv2d(3, 4, 1), False),
        (nn.ReLU(), False),
    ],
)
def test_norms(module: nn.Module, expected: bool) -> None:
    assert is_norm(module) == expected


def test_activations_are_elementwise_and_hold_no_parameters() -> None:
    assert all(is_activation(module) for module in (nn.ReLU(), nn.Hardswish(), nn.SiLU(), nn.LeakyReLU()))
    assert not any(is_activation(module) for module in (nn.PReLU(), nn.Softmax(1), nn.Dropout(), nn.Identity()))
    assert all(is_activation_name(name) for name in ("relu_", "hard_swish", "GELUTanh"))
    assert not is_activation_name("softmax")


def test_channels_meet_in_what_is_not_depthwise_alone() -> None:
    depthwise, dense = nn.Conv2d(8, 8, 3, groups=8), nn.Conv2d(8, 8, 1)
    assert convolves(depthwise)
    assert not mixes_channels(depthwise)
    assert mixes_channels(nn.Conv2d(8, 8, 3, groups=2))
    assert mixes_channels(nn.Sequential(depthwise, dense))
    assert mixes_channels(nn.Sequential(depthwise, nn.Linear(8, 8)))
    assert not mixes_channels(nn.Linear(8, 8)), "without a convolution it is no block of a CNN"


def test_only_what_applies_its_kernel_and_statistics_as_they_stand_is_plain() -> None:
    assert all(is_plain_convolution(module) for module in (nn.Conv2d(3, 4, 3), Conv2dSame(3, 4, 3)))
    assert not any(is_plain_convolution(module) for module in (StdConv2d(3, 4, 3), nn.Conv1d(3, 4, 3), nn.ReLU(), None))
    assert all(is_plain_batch_norm(module) for module in (nn.BatchNorm2d(4), BatchNormAct2d(4)))
    without = nn.BatchNorm2d(4, track_running_stats=False)
    assert not any(is_plain_batch_norm(module) for module in (without, nn.InstanceNorm2d(4), nn.GroupNorm(1, 4), None))
