"""Tasks: layouts, splits that repeat, and data that nothing can be learned from."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from nettailor.data.config import DataConfig
from nettailor.data.images import MemorySource, content_hash
from nettailor.data.task import check_name, load_task
from nettailor.errors import DataError


def test_pictures_that_do_not_fit_in_memory_are_read_when_needed(digit_folder: Path) -> None:
    lazy = load_task(DataConfig(source=str(digit_folder), memory_gib=1e-9), 16)
    whole = load_task(str(digit_folder), 16)
    assert lazy.train.images is None
    rows = torch.tensor([3, 40, 7])
    assert torch.equal(lazy.train.batch(rows), whole.train.batch(rows))


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


@pytest.mark.parametrize("memory_gib", [2.0, 1e-9])
@pytest.mark.parametrize("packed", [False, True])
def test_the_fingerprint_sees_a_changed_pixel(
    digit_folder: Path, tmp_path: Path, memory_gib: float, packed: bool
) -> None:
    """In memory or streamed, from a folder or a zip."""
    root = shutil.copytree(digit_folder, tmp_path / "d")

    def fingerprint() -> str:
        if packed:
            shutil.make_archive(str(tmp_path / "d"), "zip", root)
        config = DataConfig(source=str(root.with_suffix(".zip") if packed else root), memory_gib=memory_gib)
        task = load_task(config, 16)
        assert (task.train.images is None) == (memory_gib < 1)
        return task.fingerprint()

    before = fingerprint()
    assert fingerprint() == before
    picture = sorted((root / "val" / "digit 2").iterdir())[1]
    changed = np.asarray(Image.open(picture)).copy()
    changed[4, 4] ^= 128
    Image.fromarray(changed).save(picture)
    assert fingerprint() != before


def test_streamed_pictures_of_a_data_set_in_memory_are_hashed_too() -> None:
    one = load_task(DataConfig(memory_gib=1e-9), 32)
    assert one.fingerprint() == load_task(DataConfig(memory_gib=1e-9), 32).fingerprint()
    assert one.fingerprint() != one.fingerprint(pixels=False)


def test_a_changed_pixel_of_a_data_set_in_memory_is_seen() -> None:
    shown = {"dark": ((4, 4), 10), "light": ((4, 4), 11), "turned": ((2, 8), 10)}
    source = MemorySource("set", list(shown), lambda place: Image.new("L", *list(shown.values())[place]))
    dark, light, turned = (content_hash(source, name) for name in shown)
    assert dark == content_hash(source, "dark")
    assert len({dark, light, turned}) == 3


def photographs(root: Path) -> Path:
    """Pictures of 60 x 40, larger than they are needed."""
    for split in ("train", "val", "test"):
        for label in ("a", "b"):
            (root / split / label).mkdir(parents=True)
            for number in range(4):
                noise = np.random.default_rng(number).integers(0, 256, (4, 6, 3), dtype=np.uint8)
                Image.fromarray(noise).resize((60, 40)).save(root / split / label / f"{number}.png")
    return root


def test_training_pictures_are_kept_at_a_useful_size_where_crops_are_taken_and_memory_allows(tmp_path: Path) -> None:
    root = photographs(tmp_path / "p")
    squares, kept = 24 * 3 * 16 * 16, 8 * 3 * 20 * 30
    for augment, spare, photos in (("photo", 1, True), ("photo", -1, False), ("sign", 1, False), (("flip",), 1, False)):
        config = DataConfig(source=str(root), augment=augment, memory_gib=(squares + kept + spare) / 2**30)  # type: ignore[arg-type]
        task = load_task(config, 16)
        assert (task.train.photos is not None) == photos
        assert task.val.photos is None
        assert task.train.images is not None
        assert torch.equal(task.train.images, load_task(str(root), 16).train.images), "evaluation sees them as ever"
    assert load_task(DataConfig(source=str(root), augment="photo", memory_gib=1e-9), 16).train.photos is None
    whole = load_task(DataConfig(source=str(root), augment="photo"), 16).train
    assert whole.photos is not None
    assert [whole.photos[row].size for row in range(8)] == [(30, 20)] * 8
    with Image.open(root / whole.names[5]) as picture:
        wanted = picture.convert("RGB").resize((30, 20), Image.Resampling.BILINEAR)
    assert np.array_equal(np.asarray(whole.photos[5]), np.asarray(wanted))


def test_the_pictures_hash_does_not_depend_on_their_augmentation(tmp_path: Path) -> None:
    root = photographs(tmp_path / "p")
    hashes = {load_task(DataConfig(source=str(root), augment=a), 16).fingerprint() for a in ("sign", "photo", "none")}
    assert len(hashes) == 1
