"""Tasks: layouts, splits that repeat, and data that nothing can be learned from."""

from __future__ import annotations

import shutil
import zipfile
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_digits
from torchvision.datasets import CIFAR10, MNIST

from nettailor.data.config import DataConfig
from nettailor.data.task import check_name, load_task
from nettailor.errors import DataError, FileError


def one_folder(digit_folder: Path, root: Path) -> Path:
    """The same digits in class folders without splits."""
    for picture in sorted(digit_folder.rglob("*.png")):
        target = root / picture.parent.name / picture.name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(picture, target)
    return root


def test_the_digits_have_one_fixed_split() -> None:
    one, other = load_task("digits", 32, seed=0), load_task("digits", 32, seed=5)
    assert (len(one.train), len(one.val), len(one.test)) == (1087, 355, 355)
    assert one.record() == other.record()
    names = one.train.names + one.val.names + one.test.names
    assert len(set(names)) == len(load_digits().images)
    assert one.classes == [str(n) for n in range(10)]


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


def test_one_folder_is_split_by_class_and_seed(digit_folder: Path, tmp_path: Path) -> None:
    root = one_folder(digit_folder, tmp_path / "all")
    task, again, other = (load_task(str(root), 16, seed=seed) for seed in (0, 0, 1))
    assert task.record() == again.record()
    assert task.record() != other.record()
    names = task.train.names + task.val.names + task.test.names
    assert len(names) == len(set(names)) == 96
    for split, count in ((task.test, 5), (task.val, 3)):
        assert all(abs(n - count) <= 1 for n in Counter(split.labels.tolist()).values())


def test_a_missing_val_split_comes_out_of_train_alone(digit_folder: Path, tmp_path: Path) -> None:
    root = shutil.copytree(digit_folder, tmp_path / "no val")
    shutil.rmtree(root / "val")
    task = load_task(str(root), 16)
    assert len(task.test) == 24
    assert all(name.startswith("train/") for name in task.val.names)
    assert len(task.train) + len(task.val) == 48


def test_grouped_pictures_stay_on_one_side(tmp_path: Path) -> None:
    for label in "ab":
        for sign in range(10):
            for frame in range(4):
                path = tmp_path / "signs" / label / f"{sign:02d}_{frame}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.new("L", (8, 8), sign * 20).save(path)
    task = load_task(DataConfig(source=str(tmp_path / "signs"), group=r"^(\d+)_"), 8)
    sides = [{name[:-6] for name in split.names} for split in (task.train, task.val, task.test)]
    assert all(sides)
    assert not (sides[0] & sides[1])
    assert not (sides[0] & sides[2])
    assert not (sides[1] & sides[2])


def test_pictures_that_do_not_fit_in_memory_are_read_when_needed(digit_folder: Path) -> None:
    lazy = load_task(DataConfig(source=str(digit_folder), memory_gib=1e-9), 16)
    whole = load_task(str(digit_folder), 16)
    assert lazy.train.images is None
    rows = torch.tensor([3, 40, 7])
    assert torch.equal(lazy.train.batch(rows), whole.train.batch(rows))


def make(root: Path, *folders: str) -> Path:
    for index, folder in enumerate(folders):
        (root / folder).mkdir(parents=True)
        for n in range(8):
            Image.new("L", (8, 8), 20 * index + n).save(root / folder / f"{n}.png")
    return root


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


def test_a_bad_picture_is_named_or_left_out(digit_folder: Path, tmp_path: Path) -> None:
    root = shutil.copytree(digit_folder, tmp_path / "with bad")
    bad = sorted((root / "train" / "digit 1").iterdir())[2]
    bad.write_bytes(bad.read_bytes()[:60])
    with pytest.raises(DataError, match=bad.name):
        load_task(str(root), 16)
    task = load_task(DataConfig(source=str(root), skip_bad=True), 16)
    assert len(task.train) == 47
    assert [bad.name in problem for problem in task.skipped] == [True]


@pytest.mark.parametrize("name", ["a/b", "..", "", "a\\b", "/abs"])
def test_a_task_name_is_no_path(name: str) -> None:
    with pytest.raises(DataError, match="is no name for a task"):
        check_name(name)


def test_a_torchvision_set_on_disk_is_used_without_a_network(tmp_path: Path) -> None:
    """MNIST's own file format, written with real digits."""
    data = load_digits()
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    pixels = (data.images * 255 / 16).astype(np.uint8).repeat(3, 1).repeat(3, 2)
    pixels = np.pad(pixels, ((0, 0), (2, 2), (2, 2)))
    for prefix, rows in (("train", slice(0, 300)), ("t10k", slice(300, 400))):
        images, labels = pixels[rows], data.target[rows].astype(np.uint8)
        head = np.array([0x803, len(images), 28, 28], dtype=">i4").tobytes()
        (raw / f"{prefix}-images-idx3-ubyte").write_bytes(head + images.tobytes())
        (raw / f"{prefix}-labels-idx1-ubyte").write_bytes(
            np.array([0x801, len(labels)], dtype=">i4").tobytes() + labels.tobytes()
        )
    assert len(MNIST(str(tmp_path), train=True)) == 300
    task = load_task(DataConfig(source="mnist", root=str(tmp_path)), 32)
    assert len(task.test) == 100
    assert len(task.train) + len(task.val) == 300
    assert len(task.classes) == 10
    assert task.test.labels.tolist().count(3) == int((data.target[300:400] == 3).sum())


def test_a_torchvision_set_that_cannot_be_had_says_where_to_put_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def offline(*_: object, **__: object) -> None:
        raise OSError("network is unreachable")

    monkeypatch.setattr(CIFAR10, "download", offline)
    with pytest.raises(DataError, match=r"put its files there.*data\.root"):
        load_task(DataConfig(source="CIFAR10", root=str(tmp_path)), 32)


def test_a_misspelt_data_set_gets_the_nearest_name() -> None:
    with pytest.raises(DataError, match="did you mean 'CIFAR10'"):
        load_task("cifar01", 32)
    with pytest.raises(DataError, match="did you mean 'digits'"):
        load_task("digit", 32)
