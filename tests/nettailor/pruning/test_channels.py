"""Pruning by channels: what is asked for is met, and classifiers keep their outputs."""

from __future__ import annotations

import pytest
import torch

from blocks import Backbone
from nettailor.errors import UsageError
from nettailor.pruning import channels
from nettailor.pruning.channels import ChannelPruner, need_torch_pruning


def test_a_missing_library_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(channels.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r'channel_pruning: needs Torch-Pruning; pip install "nettailor\[bench\]"'):
        need_torch_pruning("channel_pruning")


@pytest.mark.extra
@pytest.mark.parametrize("importance", ["group_norm", "magnitude"])
def test_a_size_is_met_and_the_network_still_answers(
    backbone: Backbone, importance: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("torch_pruning")
    monkeypatch.setattr(channels, "STEPS", 40)
    net = backbone.teacher(4).requires_grad_(True)
    pruner = ChannelPruner(net, importance)  # type: ignore[arg-type]
    whole = pruner.macs
    left = pruner.shrink_to(0.5 * whole)
    assert 0.3 * whole < left == pruner.macs <= 0.5 * whole
    assert pruner.shrink_to(whole) == left, "nothing more goes where it is small enough"
    logits = net(torch.randn(2, 3, 16, 16))
    assert logits.shape == (2, 4)
    logits.sum().backward()
    assert backbone.cost.macs > left, "the backbone itself is as it was"


@pytest.mark.extra
def test_every_layer_loses_the_same_part(backbone: Backbone, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where the weights of one are small: ranked with the others it would lose nearly all of its channels."""
    pytest.importorskip("torch_pruning")
    monkeypatch.setattr(channels, "STEPS", 40)
    net = backbone.teacher(4).requires_grad_(True)
    layers = [part for part in net.modules() if isinstance(part, torch.nn.Conv2d) and part.groups == 1]
    with torch.no_grad():
        layers[1].weight.mul_(1e-3)
    before = [layer.out_channels for layer in layers]
    pruner = ChannelPruner(net, "group_norm")
    pruner.shrink_to(0.5 * pruner.macs)
    parts = [layer.out_channels / old for layer, old in zip(layers, before, strict=True)]
    assert max(parts) < 1
    assert max(parts) - min(parts) <= 1 / min(before)
