"""The embedded backbone: what its docstring and its card say of it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch

from nettailor.backbones.config import BackboneConfig
from nettailor.backbones.load import load_backbone
from nettailor.backbones.resnet34_tiny import (
    CARD,
    INPUT_SIZE,
    MEAN,
    SOURCE_CLASSES,
    SOURCE_CROP,
    STD,
    WEIGHTS,
    resnet34_tiny,
    source_classes,
)
from nettailor.backbones.transport import pack_backbone, unpack_backbone
from nettailor.data.config import DataConfig
from nettailor.data.source import SourceConfig, load_source
from nettailor.data.task import load_task
from nettailor.files import read_tensors
from nettailor.training.run import Run
from nettailor.training.source_head import source_accuracy, source_head

TINY_IMAGENET = Path(__file__).parents[4] / "shared" / "data" / "tiny_imagenet_40.zip"


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


def test_it_knows_its_classes_and_how_its_pictures_were_framed() -> None:
    names = source_classes()
    assert len(set(names)) == len(names) == SOURCE_CLASSES
    assert names == sorted(names), "of folders, as the pretraining numbers them"
    assert all(re.fullmatch(r"n\d{8}", name) for name in names)
    backbone = load_backbone()
    assert (backbone.source_classes, backbone.source_crop) == (names, SOURCE_CROP)
    again = unpack_backbone(pack_backbone(backbone), BackboneConfig())
    assert (again.source_classes, again.source_crop) == (names, SOURCE_CROP)
    for other in (load_backbone(weights=WEIGHTS), load_backbone(untrained=True), backbone.teacher(3)):
        assert other.source_classes is None, "another file's classes are not known"


@pytest.mark.slow
@pytest.mark.skipif(not TINY_IMAGENET.is_file(), reason="the pictures that it was pretrained on are not here")
def test_its_classes_are_those_of_its_logits_and_cropped_as_in_pretraining_it_is_as_accurate_as_its_card_says() -> None:
    backbone, run = load_backbone(), Run()
    target = load_task("digits", backbone.spec)
    found = {}
    for crop in (SOURCE_CROP, 1.0):
        source = load_source(SourceConfig(data=str(TINY_IMAGENET)), DataConfig(), target, backbone.spec, crop)
        assert source is not None
        head = source_head(backbone, source, SourceConfig(), run)
        assert (head.kind, head.told_by) == ("kept", "names")
        frozen = backbone.frozen_copy()
        found[crop] = source_accuracy(frozen, head.on(frozen), head.rows, source.held_out, run)
    assert found[SOURCE_CROP] == pytest.approx(0.3824, abs=0.002)
    assert found[1.0] < 0.32, "whole pictures are not what it was trained on"
