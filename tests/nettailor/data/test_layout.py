"""Layouts: split and class folders as they lie, and what is wrong with them."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest
import torch
from PIL import Image

from nettailor.data.config import DataConfig
from nettailor.data.images import FolderSource
from nettailor.data.layout import class_folders
from nettailor.data.task import find_layout, load_task
from nettailor.errors import DataError, FileError


def make(root: Path, *folders: str) -> Path:
    for index, folder in enumerate(folders):
        (root / folder).mkdir(parents=True)
        for n in range(8):
            Image.new("L", (8, 8), 20 * index + n).save(root / folder / f"{n}.png")
    return root


def test_split_folders_are_taken_as_they_are(digit_folder: Path) -> None:
    task = load_task(str(digit_folder), 16)
    assert (len(task.train), len(task.val), len(task.test)) == (48, 24, 24)
    assert task.classes == [f"digit {n}" for n in range(4)]
    assert task.train.images is not None
    assert task.train.images.shape == (48, 3, 16, 16)
    for split in (task.train, task.val, task.test):
        for name, label in zip(split.names, split.labels.tolist(), strict=True):
            assert f"/{task.classes[label]}/" in name


@pytest.mark.parametrize("wrapped", [False, True])
def test_a_zip_gives_the_same_task_as_the_folder(digit_folder: Path, tmp_path: Path, wrapped: bool) -> None:
    with zipfile.ZipFile(tmp_path / "digits4.zip", "w") as archive:
        for picture in sorted(digit_folder.rglob("*.png")):
            name = picture.relative_to(digit_folder.parent if wrapped else digit_folder)
            archive.write(picture, name)
    task, folder = load_task(str(tmp_path / "digits4.zip"), 16), load_task(str(digit_folder), 16)
    assert task.classes == folder.classes
    assert torch.equal(task.train.images, folder.train.images)


def test_bad_folders_are_named(tmp_path: Path) -> None:
    empty = make(tmp_path / "one", "a", "b")
    (empty / "c").mkdir()
    cases = [
        (empty, "c: class without pictures"),
        (make(tmp_path / "two", "a"), "only one class"),
        (make(tmp_path / "three", "train/a", "train/b", "test/a", "test/z"), "test has a class 'z'"),
        (make(tmp_path / "four"), "no such directory"),
    ]
    for root, says in cases:
        with pytest.raises((DataError, FileError), match=says):
            load_task(str(root), 8)
    (tmp_path / "five").mkdir()
    with pytest.raises(DataError, match="no pictures in class folders"):
        load_task(str(tmp_path / "five"), 8)


@pytest.mark.parametrize(
    ("train", "val", "test"),
    [
        ("Training", "Validation", "Testing"),
        ("TRAIN", "valid", "tests"),
        ("trn", "dev", "tst"),
        ("train", "eval", "test-set"),
        ("train_set", "val set", "test_set"),
    ],
)
def test_splits_are_known_by_many_names(tmp_path: Path, train: str, val: str, test: str) -> None:
    make(tmp_path / "d", *(f"{split}/{label}" for split in (train, val, test) for label in "ab"))
    layout = class_folders(FolderSource(tmp_path / "d"), "d")
    assert sorted(layout.splits) == ["test", "train", "val"]
    assert layout.classes == ["a", "b"]
    for split, folder in (("train", train), ("val", val), ("test", test)):
        assert len(layout.splits[split]) == 16
        assert all(name.startswith(f"{folder}/") for name, _ in layout.splits[split])


@pytest.mark.parametrize("prefix", ["", "around/"])
def test_an_unknown_folder_beside_the_splits_is_named(tmp_path: Path, prefix: str) -> None:
    make(tmp_path / "d", *(f"{prefix}{split}/{label}" for split in ("train", "holdout") for label in "ab"))
    with pytest.raises(
        DataError, match=f"{prefix}holdout: not a split, but beside {prefix}train; name it train, val or"
    ):
        class_folders(FolderSource(tmp_path / "d"), "d")


def test_two_folders_for_one_split_are_named(tmp_path: Path) -> None:
    make(tmp_path / "d", *(f"{split}/{label}" for split in ("train", "val", "validation") for label in "ab"))
    with pytest.raises(DataError, match="val and validation both mean val; merge them"):
        class_folders(FolderSource(tmp_path / "d"), "d")


def test_a_folder_without_pictures_beside_the_splits_does_no_harm(tmp_path: Path) -> None:
    make(tmp_path / "d", *(f"{split}/{label}" for split in ("train", "test") for label in "ab"))
    (tmp_path / "d" / "annotations").mkdir()
    (tmp_path / "d" / "annotations" / "notes.txt").write_text("none of ours")
    assert sorted(class_folders(FolderSource(tmp_path / "d"), "d").splits) == ["test", "train"]


def test_without_a_train_folder_they_are_classes(tmp_path: Path) -> None:
    make(tmp_path / "d", "testing", "dev", "other")
    assert class_folders(FolderSource(tmp_path / "d"), "d").classes == ["dev", "other", "testing"]
    make(tmp_path / "vehicles", "bus", "car", "train")
    assert class_folders(FolderSource(tmp_path / "vehicles"), "v").classes == ["bus", "car", "train"]


def test_the_name_of_a_data_set_goes_before_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    make(tmp_path / "digits", "a", "b")
    make(tmp_path / "pictures", "a", "b")
    assert find_layout(DataConfig(source="digits")).classes == [str(n) for n in range(10)]
    for folder in ("./digits", "digits/", str(tmp_path / "digits"), "pictures"):
        assert find_layout(DataConfig(source=folder)).classes == ["a", "b"]
    make(tmp_path / "MNIST", "a", "b")
    with pytest.raises(DataError, match=r"is not fetched here.*write --data \./MNIST"):
        find_layout(DataConfig(source="MNIST", root=str(tmp_path / "nothing")), fetch=False)


def test_only_the_classes_that_are_wanted_are_used(digit_folder: Path, tmp_path: Path) -> None:
    config = DataConfig(source=str(digit_folder), classes="digit [13]")
    task, whole = load_task(config, 16), load_task(str(digit_folder), 16)
    assert task.classes == ["digit 1", "digit 3"]
    for name in ("train", "val", "test"):
        part, all_of_it = task.split(name), whole.split(name)
        wanted = [n for n, label in zip(all_of_it.names, all_of_it.labels.tolist(), strict=True) if label in (1, 3)]
        assert part.names == wanted
        for picture, label in zip(part.names, part.labels.tolist(), strict=True):
            assert f"/{task.classes[label]}/" in picture
    numbers = DataConfig(source="digits", classes="[0-4]")
    assert find_layout(numbers).classes == list("01234"), "of a data set, too"
    assert find_layout(DataConfig(source=str(make(tmp_path / "d", "1", "11", "2")), classes="1|2")).classes == [
        "1",
        "2",
    ], "whole names"


@pytest.mark.parametrize(
    ("pattern", "says"),
    [
        (
            "digit 1",
            r"'digit 1' matches 1 of the 4 classes of .*digits4 \(digit 0, digit 1, digit 2, ...\); .*at least two",
        ),
        ("cat", r"data.classes: 'cat' matches 0 of the 4 classes"),
        ("(", r"data.classes: '\(' is no regular expression"),
    ],
)
def test_a_pattern_of_classes_has_to_leave_two(digit_folder: Path, pattern: str, says: str) -> None:
    with pytest.raises(DataError, match=says):
        load_task(DataConfig(source=str(digit_folder), classes=pattern), 16)


def test_of_few_classes_all_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"matches 0 of the 2 classes of .* \(a, b\); a task needs at least two"):
        find_layout(DataConfig(source=str(make(tmp_path / "d", "a", "b")), classes="cat"))
