"""The embedded backbone: what its docstring and its card say of it."""

from __future__ import annotations

import torch

from nettailor.backbones.load import load_backbone
from nettailor.backbones.resnet34_tiny import CARD, INPUT_SIZE, MEAN, SOURCE_CLASSES, STD, WEIGHTS, resnet34_tiny
from nettailor.files import read_tensors


def test_the_shipped_weights_are_all_of_this_architecture_and_finite() -> None:
    tensors, _ = read_tensors(WEIGHTS)
    own = resnet34_tiny().state_dict()
    assert {name: tensor.shape for name, tensor in tensors.items()} == {
        name: tensor.shape for name, tensor in own.items() if name in tensors
    }
    assert {name.rsplit(".", 1)[-1] for name in own.keys() - tensors.keys()} <= {"num_batches_tracked"}
    assert all(torch.isfinite(tensor.float()).all() for tensor in tensors.values())


def test_it_has_the_size_and_reads_the_pictures_that_are_written_down() -> None:
    backbone = load_backbone()
    assert backbone.shapes[0] == (16, 16, 16)
    widths = [16] * 3 + [32] * 4 + [64] * 6 + [128] * 3
    assert backbone.shapes[1:] == [(width, 256 // width, 256 // width) for width in widths]
    cost = backbone.network_cost()
    assert f"{cost.params / 1e6:.2f} M, {cost.macs / 1e6:.1f} M" == "1.36 M, 18.6 M"
    assert (backbone.spec.size, backbone.spec.mean, backbone.spec.std) == (INPUT_SIZE, MEAN, STD)
    assert backbone.classes == SOURCE_CLASSES
    card = CARD.read_text()
    assert f"{SOURCE_CLASSES} classes" in card
    assert f"RGB, {INPUT_SIZE} x {INPUT_SIZE}, mean {MEAN}, standard deviation {STD}" in card
