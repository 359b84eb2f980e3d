"""The backbone of a suite comes back as it was, from a file that is held to its hashes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from blocks import Backbone, InputSpec
from nettailor.backbones.hashes import BackboneHashes, tensors_sha256
from nettailor.errors import FileError, NettailorError
from nettailor.files import read_tensors, sha256_of, write_tensors
from nettailor.suite.changes import add
from nettailor.suite.folder import NOTES, SuiteFolder
from nettailor.suite.shared import release, restore_backbone
from tests.fabricated import TINY


def test_a_backbone_is_restored_by_its_name(made: Path, shared: Backbone) -> None:
    folder = SuiteFolder(made)
    found = restore_backbone(folder, folder.read(), TINY)
    assert (found.name, found.spec) == (shared.name, shared.spec)
    assert BackboneHashes.of(found) == BackboneHashes.of(shared)


@pytest.mark.filterwarnings("ignore::nettailor.artifacts.delta.UncheckedWarning")
def test_names_that_are_no_code_are_followed_without_disturbing_random_numbers(tmp_path: Path) -> None:
    add(tmp_path / "suite", ["tests/artifacts/v0.1.0/embedded"])
    folder = SuiteFolder(tmp_path / "suite")
    before = torch.get_rng_state()
    found = restore_backbone(folder, folder.read())
    assert tensors_sha256(found) == folder.read().backbone.sha256
    assert torch.equal(torch.get_rng_state(), before)


def test_a_file_that_is_not_the_one_described_is_refused(suite: Path) -> None:
    folder = SuiteFolder(suite)
    index = folder.read()
    tensors, _ = read_tensors(folder.backbone)
    one = next(iter(tensors))
    for wrong, says in (
        ({name: tensor for name, tensor in tensors.items() if name != one}, "does not fit this network: it is missing"),
        (tensors | {one: tensors[one] + 1}, "backbone.sha256: is not that of backbone.safetensors"),
        (tensors | {one: tensors[one] * torch.nan}, "has values that are not finite"),
    ):
        write_tensors(folder.backbone, wrong, NOTES)
        with pytest.raises(FileError, match="is not the file that suite.json describes"):
            restore_backbone(folder, index, TINY)
        trusted = replace(index, backbone=replace(index.backbone, file_sha256=sha256_of(folder.backbone)))
        with pytest.raises(FileError, match=says):
            restore_backbone(folder, trusted, TINY)
    folder.backbone.unlink()
    with pytest.raises(FileError, match=r"backbone.safetensors: can't be read"):
        restore_backbone(folder, index, TINY)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("resnet34_tiny", "backbone.geometry_sha256: resnet34_tiny computes otherwise here"),
        ("resnet34_tiy", "no such backbone; did you mean"),
        (None, "is code to import; name it yourself with --backbone"),
    ],
)
def test_a_name_that_gives_another_network_is_refused(made: Path, name: str | None, says: str) -> None:
    folder = SuiteFolder(made)
    with pytest.raises(NettailorError, match=says):
        restore_backbone(folder, folder.read(), name)


def test_nothing_is_downloaded(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    def load(name: str, weights: object, size: int, **named: object) -> Backbone:
        seen.append((weights, named["fetch"]))
        return Backbone(
            nn.Sequential(*(nn.Conv2d(3, 3, 1) for _ in range(6)), nn.Flatten(), nn.Linear(768, 2)),
            InputSpec(16, (0.5,) * 3, (0.25,) * 3),
            name,
        )

    monkeypatch.setattr("nettailor.suite.shared.load_backbone", load)
    folder = SuiteFolder(made)
    with pytest.raises(FileError, match="computes otherwise here"):
        restore_backbone(folder, folder.read(), "timm/resnet18")
    assert seen == [(None, False)] * 2


def test_the_source_classifier_is_freed(made: Path) -> None:
    folder = SuiteFolder(made)
    backbone = restore_backbone(folder, folder.read(), TINY)
    features, classes = backbone.features, backbone.classes
    release(backbone, None)
    assert [
        tensor.device.type for tensor in backbone.head.get_submodule(backbone.classifier_paths[0]).parameters()
    ] == [
        "meta",
        "meta",
    ]
    assert (backbone.features, backbone.classes) == (features, classes)
    assert tensors_sha256(backbone) == folder.read().backbone.sha256
