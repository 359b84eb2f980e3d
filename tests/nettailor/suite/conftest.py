"""Deltas of untrained networks over one small backbone, and a suite of them."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from blocks import Backbone, CompactNet, Plan, TailoredNet, compact
from nettailor.artifacts import delta
from nettailor.backbones.load import load_backbone
from nettailor.pruning.graph import BlockGraph
from nettailor.suite.changes import add
from nettailor.suite.suite import Suite
from tests.fabricated import CLASSES, TINY

Make = Callable[..., Path]


@pytest.fixture(scope="session")
def shared() -> Backbone:
    """Six residual blocks, as `tests.tiny:tiny_resnet` at 16 px."""
    return load_backbone(TINY, None, 16)


def network(backbone: Backbone, gone: set[str], seed: int = 0, **plan: object) -> CompactNet:
    """A network without some paths; nothing in it is trained."""
    torch.manual_seed(seed)
    student = TailoredNet(backbone, len(CLASSES), replace(Plan(skips=1), **plan)).eval()  # type: ignore[arg-type]
    whole = BlockGraph.of(student)
    student.keep(whole.without([path for path in whole.paths if path.key in gone]).paths)
    return compact(student)


@pytest.fixture(scope="session")
def make(tmp_path_factory: pytest.TempPathFactory, shared: Backbone) -> Make:
    """Write a delta: `make("birds", gone={"G3"}, seed=1)` gives its folder."""

    def written(task: str, gone: set[str], seed: int = 0, **plan: object) -> Path:
        folder = tmp_path_factory.mktemp("delta") / task
        delta.save(network(shared, gone, seed, **plan), folder, task, CLASSES)
        return folder

    return written


@pytest.fixture(scope="session")
def birds(make: Make) -> Path:
    return make("birds", {"G3", "G4"}, seed=1)


@pytest.fixture(scope="session")
def signs(make: Make) -> Path:
    return make("signs", {"G3", "G6"}, seed=2, batch_norm="affine", rank=2)


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory, birds: Path, signs: Path, shared: Backbone) -> Path:
    """A suite of birds and signs, not to be changed."""
    folder = tmp_path_factory.mktemp("suites") / "made"
    add(folder, [birds, signs], shared)
    return folder


@pytest.fixture(scope="session")
def loaded(made: Path) -> Suite:
    """The same in memory."""
    return Suite.load(made, backbone=TINY)


@pytest.fixture
def suite(tmp_path: Path, made: Path) -> Path:
    """A copy of it that may be changed."""
    return shutil.copytree(made, tmp_path / "suite")
