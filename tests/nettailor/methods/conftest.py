"""Two digits to learn, and two others that the backbone knows already."""

from __future__ import annotations

from pathlib import Path

import pytest

from blocks import Backbone
from nettailor.data.config import DataConfig
from nettailor.data.source import SourceConfig, SourcePictures, load_source
from nettailor.data.task import Task, load_task


@pytest.fixture
def data(digit_folder: Path) -> DataConfig:
    return DataConfig(source=str(digit_folder), classes="digit [01]")


@pytest.fixture
def target(data: DataConfig, backbone: Backbone) -> Task:
    return load_task(data, backbone.spec)


@pytest.fixture
def source(data: DataConfig, target: Task, backbone: Backbone) -> SourcePictures:
    """Digits 2 and 3, as if the backbone knew them."""
    backbone.source_classes = ["a", "digit 3", "digit 2", "b", "c", "d", "e"]
    found = load_source(SourceConfig(data=data.source, classes="digit [23]"), data, target, backbone.spec, 1.0)
    assert found is not None
    return found
