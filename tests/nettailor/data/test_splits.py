"""Splits: drawn by class, seed and group, or taken from what a run wrote down."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from pathlib import Path

import pytest
from PIL import Image

from nettailor.data.config import DataConfig
from nettailor.data.images import MemorySource
from nettailor.data.layout import Layout
from nettailor.data.splits import Members, carve
from nettailor.data.task import load_task
from nettailor.errors import FileError, UsageError

EXPECTED = {
    "train": ["01", "02", "03", "05", "07", "10", "11", "12", "14", "16"],
    "val": ["06", "13"],
    "test": ["00", "04", "15", "17"],
}


def one_folder(digit_folder: Path, root: Path) -> Path:
    """The same digits in class folders without splits."""
    for picture in sorted(digit_folder.rglob("*.png")):
        target = root / picture.parent.name / picture.name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(picture, target)
    return root


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


def layout(members: Members, classes: int) -> Layout:
    source = MemorySource("memory", [name for name, _ in members], lambda _: Image.new("L", (8, 8)))
    return Layout(source, "memory", [str(n) for n in range(classes)], {"train": members})


def patients(splits: dict[str, Members]) -> dict[str, set[str]]:
    return {split: {name.rsplit("/", 1)[-1].split("_")[0] for name, _ in found} for split, found in splits.items()}


@pytest.mark.parametrize("seed", range(5))
def test_a_group_in_several_classes_stays_in_one_split(seed: int) -> None:
    members = [
        (f"{label}/p{patient:02d}_{n}.png", label)
        for label in range(4)
        for patient in range(40)
        if (patient + label) % 3  # not every patient shows every class
        for n in range(2)
    ]
    splits = carve(layout(members, 4), DataConfig(group=r"^(p\d+)_"), seed)
    sides = patients(splits)
    assert not sides["train"] & sides["val"]
    assert not sides["train"] & sides["test"]
    assert not sides["val"] & sides["test"]
    assert sorted(member for found in splits.values() for member in found) == sorted(members)
    of_class = Counter(label for _, label in members)
    for split, part in (("test", 0.2), ("val", 0.8 * 0.15), ("train", 0.68)):
        for label, count in Counter(label for _, label in splits[split]).items():
            assert abs(count / of_class[label] - part) < 0.12


def test_a_class_whose_only_group_is_shared_keeps_its_pictures() -> None:
    members = [(f"0/p{n}_0.png", 0) for n in range(10)] + [("1/p3_0.png", 1), ("1/p3_1.png", 1)]
    for seed in range(20):
        splits = carve(layout(members, 2), DataConfig(group=r"^(p\d+)_", test_fraction=0.5, val_fraction=0.5), seed)
        assert {label for _, label in splits["train"]} == {0, 1}


def test_groups_of_one_class_are_drawn_as_they_always_were() -> None:
    """The splits of 0.1.0, written down: the board's tasks are drawn so."""
    members = [(f"{label}/{label}{group}_{n}.png", label) for label in range(2) for group in range(8) for n in range(3)]
    sides = patients(carve(layout(members, 2), DataConfig(group=r"^(\d+)_"), 0))
    assert {split: sorted(found) for split, found in sides.items()} == EXPECTED


def test_a_pattern_with_a_slash_is_matched_against_the_path() -> None:
    members = [(f"{label}/{group}_{n}.png", label) for label in range(2) for group in range(8) for n in range(3)]
    named = [(f"{label}/{label}{group}_{n}.png", label) for label in range(2) for group in range(8) for n in range(3)]
    by_path = carve(layout(members, 2), DataConfig(group=r"([^/]+/\d+)_"), 0)
    by_name = carve(layout(named, 2), DataConfig(group=r"^(\d+)_"), 0)
    renamed = {s: [(f"{label}/{name.split('/')[1][1:]}", label) for name, label in f] for s, f in by_name.items()}
    assert by_path == renamed


MANY = [(f"{label}/{label}{n:02d}_0.png", label) for label in range(3) for n in range(40 if label else 12)]


def test_at_most_so_many_of_each_class_are_trained_on_and_the_other_splits_stay() -> None:
    whole = carve(layout(MANY, 3), DataConfig(), 0)
    few, more, other = (carve(layout(MANY, 3), DataConfig(per_class=n), seed) for n, seed in ((5, 0), (10, 0), (5, 1)))
    assert {split: found for split, found in few.items() if split != "train"} == {
        split: found for split, found in whole.items() if split != "train"
    }
    assert Counter(label for _, label in few["train"]) == {0: 5, 1: 5, 2: 5}
    assert Counter(label for _, label in more["train"])[0] == Counter(label for _, label in whole["train"])[0] < 10
    assert set(few["train"]) < set(more["train"]) < set(whole["train"])
    assert few == carve(layout(MANY, 3), DataConfig(per_class=5), 0)
    assert {name for name, label in few["train"] if label} != {name for name, label in other["train"] if label}


def test_a_thinned_class_keeps_its_part_and_the_others_keep_theirs() -> None:
    whole = carve(layout(MANY, 3), DataConfig(), 0)
    thin = carve(layout(MANY, 3), DataConfig(thin={"1": 0.1, "0": 0.001}), 0)
    counts, before = (Counter(label for _, label in splits["train"]) for splits in (thin, whole))
    assert counts == {0: 1, 1: round(0.1 * before[1]), 2: before[2]}  # one stays of any class
    assert (thin["val"], thin["test"]) == (whole["val"], whole["test"])
    both = carve(layout(MANY, 3), DataConfig(per_class=10, thin={"1": 0.5}), 0)
    assert Counter(label for _, label in both["train"])[1] == 5
    assert set(both["train"]) <= set(carve(layout(MANY, 3), DataConfig(per_class=10), 0)["train"])


def test_a_thinned_class_that_is_not_there_is_refused_with_the_nearest() -> None:
    named = Layout(layout(MANY, 3).source, "memory", ["stop", "yield", "priority"], {"train": MANY})
    with pytest.raises(UsageError, match=r"^data.thin: there is no class 'yeild'; did you mean 'yield'\?$"):
        carve(named, DataConfig(thin={"yeild": 0.1}), 0)
    with pytest.raises(UsageError, match=r"^data.thin: there is no class 'q'; there are stop, yield, priority$"):
        carve(named, DataConfig(thin={"q": 0.1}), 0)


def test_what_stays_is_in_the_record_of_the_splits(digit_folder: Path, tmp_path: Path) -> None:
    config = DataConfig(source=str(digit_folder), per_class=6, thin={"digit 2": 0.5})
    task, path = load_task(config, 16), tmp_path / "split.json"
    assert [len(names) for names in task.record()["train"].values()] == [6, 6, 3, 6]
    assert {split: len(task.split(split)) for split in ("val", "test")} == {"val": 24, "test": 24}
    path.write_text(json.dumps({"sha256": "", **task.record()}))
    assert load_task(config, 16, seed=5, record=path).record() == task.record()


def test_a_run_s_own_splits_are_taken_as_written_down(digit_folder: Path, tmp_path: Path) -> None:
    root = one_folder(digit_folder, tmp_path / "all")
    task, path = load_task(str(root), 16, seed=3), tmp_path / "split.json"
    path.write_text(json.dumps({"sha256": "", **task.record()}))
    again = load_task(str(root), 16, seed=4, record=path)
    assert again.record() == task.record()
    assert again.fingerprint() == task.fingerprint()
    gone = root / task.val.names[0]
    gone.unlink()
    with pytest.raises(FileError, match=f"split.json: val: '{task.val.names[0]}' is not in"):
        load_task(str(root), 16, record=path)
    path.write_text('{"train": 3}')
    with pytest.raises(FileError, match="train: is no record"):
        load_task(str(root), 16, record=path)
