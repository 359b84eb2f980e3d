"""Narrower layers: their tensors, groups and costs, and widths that can't be."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from blocks import Backbone, CompactNet, NetPlan, compact, count_params
from blocks.counting import count_macs, tensors_of
from blocks.narrow import WidthError, narrow, width_of, widths_of


def net() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 8, 3),
        nn.BatchNorm2d(8),
        nn.Conv2d(8, 8, 3, groups=8),
        nn.Conv2d(8, 8, 1, groups=2),
        nn.Linear(8, 4),
    )


def test_layers_become_what_they_would_have_been_with_so_many_channels() -> None:
    narrowed = net()
    narrow(narrowed, {"0": (6, 3), "1": (6,), "2": (6, 6), "3": (4, 6), "4": (4, 5)})
    same = nn.Sequential(
        nn.Conv2d(3, 6, 3),
        nn.BatchNorm2d(6),
        nn.Conv2d(6, 6, 3, groups=6),
        nn.Conv2d(6, 4, 1, groups=2),
        nn.Linear(5, 4),
    )
    shapes = {name: tensor.shape for name, tensor in same.state_dict().items()}
    assert {name: tensor.shape for name, tensor in narrowed.state_dict().items()} == shapes
    assert [str(layer) for layer in narrowed] == [str(layer) for layer in same]
    assert widths_of(narrowed) == {"0": (6, 3), "1": (6,), "2": (6, 6), "3": (4, 6), "4": (4, 5)}
    assert width_of(nn.ReLU()) is None


@pytest.mark.parametrize(
    ("name", "width", "says"),
    [
        ("9", (1,), "'9' is no convolution, linear layer or batch norm"),
        ("0", (9, 3), r"is to have \[9, 3\] channels, but it has \[8, 3\]"),
        ("0", (0, 3), "is to have"),
        ("1", (4, 4), "is to have"),
        ("3", (3, 8), "has 2 groups, which"),
    ],
)
def test_widths_that_can_not_be_are_named(name: str, width: tuple[int, ...], says: str) -> None:
    with pytest.raises(WidthError, match=says):
        narrow(net(), {name: width})


def test_a_pruned_network_is_compact_with_its_widths(backbone: Backbone) -> None:
    pruned = backbone.teacher(4)
    inner = {"blocks.4.layer3.0.conv1": (5, 8), "blocks.4.layer3.0.bn1": (5,), "blocks.4.layer3.0.conv2": (16, 5)}
    narrow(pruned, inner)
    for tensor in tensors_of(pruned).values():
        nn.init.uniform_(tensor.detach(), 0.5, 1)
    pruned.eval()
    result = compact(pruned, backbone)
    assert dict(result.plan.widths) == {f"blocks.5{name[8:]}": width for name, width in inner.items()}
    x = torch.randn(2, 3, 16, 16)
    with torch.no_grad():
        assert torch.equal(result(x), pruned(x))
    assert result.cost().macs == count_macs(pruned, x[:1]) < count_macs(backbone.teacher(4), x[:1])
    assert result.cost().params == count_params(tensors_of(pruned).values())
    block = result.path_cost(result.paths[4])
    assert (
        block.macs == count_macs(pruned.blocks[4], torch.zeros(1, *backbone.shapes[4])) < backbone.block_costs[4].macs
    )
    with torch.no_grad():
        assert torch.allclose(result.for_inference()(x), result(x), rtol=1e-4)
    with pytest.raises(WidthError, match="only a copied net without proxies"):
        CompactNet(backbone, NetPlan(result.plan.paths, 4, widths=result.plan.widths))
