"""Shallower cuts: the backbone's first blocks, copied, with a classifier on their mean."""

from __future__ import annotations

import pytest
import torch

from blocks.shallow import ShallowNet, depth_for
from tests import tiny
from tests.blocks.test_fold import same_answers


def test_a_shallower_cut_is_the_first_blocks_and_changes_nothing_of_the_backbone() -> None:
    backbone = tiny.tiny_backbone()
    before = {name: tensor.clone() for name, tensor in backbone.state_dict().items()}
    x = torch.randn(2, 3, 16, 16)
    net = ShallowNet(backbone, 3, 4).eval()
    with torch.no_grad():
        assert torch.allclose(net(x), net.classifier(backbone.activations(x)[3].mean((2, 3))))
        same_answers(net, net.for_inference(), x)
    net.train()(x).sum().backward()
    assert all(parameter.grad is not None for parameter in net.parameters())
    assert all(torch.equal(tensor, before[name]) for name, tensor in backbone.state_dict().items())
    assert net.macs(backbone) < backbone.cost.macs


def test_the_depth_of_a_shallower_cut_is_the_least_that_has_the_macs() -> None:
    backbone = tiny.tiny_backbone()
    for depth in range(1, backbone.depth + 1):
        macs = backbone.stem_cost.macs + sum(block.macs for block in backbone.block_costs[:depth])
        assert depth_for(backbone, macs) == depth
        assert depth_for(backbone, macs - 1) == depth
    assert depth_for(backbone, 10 * backbone.cost.macs) == backbone.depth
    with pytest.raises(ValueError, match="the depth is 1 to 6, not 7"):
        ShallowNet(backbone, 7, 3)


def test_its_macs_are_what_is_counted_and_its_tensors_are_all_its_own() -> None:
    backbone = tiny.tiny_backbone()
    for depth in (1, 5):
        net = ShallowNet(backbone, depth, 4)
        assert net.macs(backbone) == net.cost().macs
        assert net.cost().params == sum(tensor.numel() for tensor in net.task_tensors().values())
        assert not {t.data_ptr() for t in net.state_dict().values()} & {
            t.data_ptr() for t in backbone.state_dict().values()
        }
