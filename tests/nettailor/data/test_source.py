"""Source pictures: which they are, how they are framed, in which order they are read, and what is refused."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch

from blocks import InputSpec
from nettailor.data.config import DataConfig
from nettailor.data.images import FolderSource
from nettailor.data.source import SourceBatches, SourceConfig, SourcePictures, evenly, load_source
from nettailor.data.task import Split, Task, load_task
from nettailor.errors import DataError, FileError, UsageError
from tests.tiny import write_digits

SPEC = InputSpec(16, (0.5,) * 3, (0.5,) * 3)
TARGET = DataConfig(classes="digit [01]")


@pytest.fixture
def target(digit_folder: Path) -> Task:
    return load_task(DataConfig(source=str(digit_folder), classes="digit [01]"), SPEC)


def load(source: Path, target: Task, crop: float = 1.0, **settings: object) -> SourcePictures:
    found = load_source(SourceConfig(data=str(source), **settings), TARGET, target, SPEC, crop)  # type: ignore[arg-type]
    assert found is not None
    return found


def test_without_a_name_there_are_none(target: Task) -> None:
    assert load_source(SourceConfig(), TARGET, target, SPEC, 1.0) is None


def test_other_classes_of_the_targets_data_will_do_and_are_framed_as_in_pretraining(
    digit_folder: Path, target: Task
) -> None:
    found = load(digit_folder, target, crop=0.8, classes="digit [23]")
    assert found.classes == ["digit 2", "digit 3"]
    assert (len(found.train), len(found.held_out), found.held_out_as) == (24, 12, "val")
    own = Split(found.train.source, found.train.names[:2], found.train.labels[:2], 16, None, "bilinear", 0.8)
    assert torch.equal(found.train.batch(torch.arange(2)), own.batch(torch.arange(2)))
    assert (
        load_source(
            SourceConfig(data=str(digit_folder), classes="digit [23]", crop=0.5), TARGET, target, SPEC, 0.8
        ).crop
        == 0.5
    )  # type: ignore[union-attr]


def test_what_is_held_out_is_val_or_else_test_or_else_a_part_of_train(tmp_path: Path, target: Task) -> None:
    pictures = write_digits(tmp_path / "p", classes=4, train=20)
    for label in (0, 1):
        for split in ("train", "val", "test"):
            shutil.rmtree(pictures / split / f"digit {label}")
    shutil.rmtree(pictures / "val")
    found = load(pictures, target)
    assert (len(found.train), len(found.held_out), found.held_out_as) == (40, 12, "test")
    shutil.rmtree(pictures / "test")
    found = load(pictures, target)
    assert (len(found.train), len(found.held_out), found.held_out_as) == (36, 4, "train")
    assert not set(found.train.names) & set(found.held_out.names)


def test_a_sample_is_even_over_the_classes(digit_folder: Path) -> None:
    source = FolderSource(digit_folder)
    names = [name for name in source.names if name.startswith("train/")]
    split = Split(source, names, torch.tensor([int(name.split("/")[1][-1]) for name in names]), 16)
    some = evenly(split, 8)
    assert torch.bincount(some.labels).tolist() == [2, 2, 2, 2]
    assert [int(name.split("/")[1][-1]) for name in some.names] == some.labels.tolist()
    assert len(evenly(split, 1000)) == len(split)


@pytest.fixture
def split(digit_folder: Path, target: Task) -> Split:
    return load(digit_folder, target, classes="digit [23]").train


def test_every_pass_reads_every_picture_once_in_an_order_of_its_own(split: Split) -> None:
    batches = SourceBatches(split, 10, seed=3)
    rows = torch.cat([batches.rows(number) for number in range(12)])
    passes = rows.view(5, 24)
    assert all(torch.equal(one.sort().values, torch.arange(24)) for one in passes)
    assert not any(torch.equal(passes[0], other) for other in passes[1:])


def test_a_batch_depends_on_seed_and_number_alone(split: Split) -> None:
    one, other = SourceBatches(split, 10, seed=3), SourceBatches(split, 10, seed=3, limit=2**20)
    for number in range(4):
        other(number)
    images, labels = one(7)
    again = other(7)
    assert torch.equal(images, again[0])
    assert torch.equal(labels, again[1])
    assert not torch.equal(one.rows(7), SourceBatches(split, 10, seed=4).rows(7))
    assert torch.equal(labels, split.labels[one.rows(7)])


def test_a_set_smaller_than_a_batch_is_read_over_and_over(split: Split) -> None:
    rows = SourceBatches(split, 64, seed=0).rows(0)
    assert len(rows) == 64
    assert torch.bincount(rows).tolist().count(3) == 64 - 2 * 24


def test_pictures_that_are_read_are_counted_and_decoded_once_where_they_fit(
    split: Split, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoded: list[int] = []
    real = Split.batch
    monkeypatch.setattr(Split, "batch", lambda self, rows: decoded.append(len(rows)) or real(self, rows))
    kept, streamed = (
        SourceBatches(split, 12, 0, limit=24 * 3 * 256),
        SourceBatches(split, 12, 0, limit=24 * 3 * 256 - 1),
    )
    for number in range(6):
        assert torch.equal(kept(number)[0], streamed(number)[0])
    assert kept.read == streamed.read == 72
    assert sum(decoded) == 72 + 24


def test_source_and_target_must_not_share_classes_of_one_place_nor_pictures(
    digit_folder: Path, tmp_path: Path, target: Task
) -> None:
    with pytest.raises(UsageError, match=r"source\.data: .* is also the target, and class 'digit 0' is in both"):
        load(digit_folder, target)
    copied = tmp_path / "copied"
    shutil.copytree(digit_folder / "train" / "digit 1", copied / "uno")
    shutil.copytree(digit_folder / "train" / "digit 3", copied / "tre")
    with pytest.raises(UsageError, match="is also a picture of the target"):
        load(copied, target)
    shutil.copytree(digit_folder / "test" / "digit 2", copied / "due")
    shutil.rmtree(copied / "uno")
    assert load(copied, target).classes == ["due", "tre"]


def test_what_is_not_there_is_said_by_the_name_of_the_setting(tmp_path: Path, target: Task, digit_folder: Path) -> None:
    with pytest.raises(FileError, match=r"give source\.data a directory"):
        load(tmp_path / "none.zip", target)
    with pytest.raises(DataError, match=r"source\.data strange: no such"):
        load(Path("strange"), target)
    with pytest.raises(DataError, match=r"source\.classes: 'no' matches 0 of the 4"):
        load(digit_folder, target, classes="no")
