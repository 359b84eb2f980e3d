"""Pictures of the probe: which classes they are of, and what is refused."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from blocks import InputSpec
from nettailor.data.config import DataConfig
from nettailor.data.probe_pictures import ProbeConfig, ProbePictures, load_probe
from nettailor.data.source import SourceConfig, SourcePictures, load_source
from nettailor.data.task import Task, load_task
from nettailor.errors import UsageError

SPEC = InputSpec(16, (0.5,) * 3, (0.5,) * 3)


@pytest.fixture
def data(digit_folder: Path) -> DataConfig:
    return DataConfig(source=str(digit_folder), classes="digit [01]")


@pytest.fixture
def target(data: DataConfig) -> Task:
    return load_task(data, SPEC)


def load(
    of: DataConfig, target: Task, source: SourcePictures | None = None, known: tuple[str, ...] = (), **named: object
) -> ProbePictures:
    found = load_probe(ProbeConfig(**named), of, target, source, known, SPEC)  # type: ignore[arg-type]
    assert found is not None
    return found


def test_without_a_name_there_are_none(data: DataConfig, target: Task) -> None:
    assert load_probe(ProbeConfig(), data, target, None, [], SPEC) is None


def test_of_the_targets_own_data_it_takes_the_classes_that_the_target_leaves(data: DataConfig, target: Task) -> None:
    found = load(data, target, data=data.source)
    assert found.classes == ["digit 2", "digit 3"]
    assert (len(found.gallery), len(found.queries)) == (24, 12)
    assert found.gallery.images is not None
    assert found.gallery.images.shape == (24, 3, 16, 16)
    assert all(name.startswith("test/") for name in found.queries.names)


def test_a_target_that_leaves_none_is_refused(digit_folder: Path) -> None:
    data = DataConfig(source=str(digit_folder))
    with pytest.raises(
        UsageError, match=r"trains on 4 of its 4 classes; leave some out of the target with data\.classes"
    ):
        load(data, load_task(data, SPEC), data=data.source)


def test_without_a_test_split_a_part_is_asked_for(
    data: DataConfig, target: Task, digit_folder: Path, tmp_path: Path
) -> None:
    for label in (2, 3):
        shutil.copytree(digit_folder / "train" / f"digit {label}", tmp_path / "p" / f"number {label}")
    found = load(data, target, data=str(tmp_path / "p"))
    assert (len(found.gallery), len(found.queries)) == (20, 4)


def test_classes_that_were_trained_on_are_refused(
    data: DataConfig, target: Task, digit_folder: Path, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match="class 'digit 1' is also one of the target"):
        load(data, target, data=data.source, classes="digit [123]")
    for name, label in (("Digit_1", 2), ("other", 3)):
        shutil.copytree(digit_folder / "train" / f"digit {label}", tmp_path / "named" / name)
    with pytest.raises(UsageError, match="class 'Digit_1' is also one of the target"):
        load(data, target, data=str(tmp_path / "named"))
    for name, label in (("one", 1), ("other", 3)):
        shutil.copytree(digit_folder / "train" / f"digit {label}", tmp_path / "copied" / name)
    with pytest.raises(UsageError, match=r"one/.*png is also a picture of the target"):
        load(data, target, data=str(tmp_path / "copied"))
    source = load_source(SourceConfig(data=data.source, classes="digit [23]"), data, target, SPEC, 1.0)
    with pytest.raises(UsageError, match="class 'digit 2' is also one of the source"):
        load(data, target, source, data=data.source)
    with pytest.raises(UsageError, match="pretrained on class 'digit 3'"):
        load(data, target, known=("cat", "Digit 3"), data=data.source)
