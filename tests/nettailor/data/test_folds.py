"""Training pictures held out part by part."""

from __future__ import annotations

from dataclasses import replace

import torch

from nettailor.data.folds import Folds
from nettailor.data.task import Split, Task


def test_every_picture_is_held_out_once_and_trained_on_otherwise(task: Task) -> None:
    folds = Folds(task, 3)
    everything = sorted(task.train.names + task.val.names)
    tasks = [folds.task(number) for number in range(len(folds))]
    assert len(folds) == 3
    assert sorted(name for one in tasks for name in one.val.names) == sorted(task.train.names)
    for one in tasks:
        assert set(one.train.names) >= set(task.val.names)
        assert sorted(one.train.names + one.val.names) == everything
        assert one.test is task.test
        assert one.classes == task.classes
    assert folds.training_pictures == len(task.train)


def test_pictures_keep_their_pixels_and_labels(task: Task) -> None:
    assert task.train.images is not None
    assert task.val.images is not None
    known = {
        name: (label, pixels)
        for split in (task.train, task.val)
        for name, label, pixels in zip(split.names, split.labels.tolist(), split.images, strict=True)
    }
    held_out = Folds(task, 4).task(1).val
    assert held_out.images is not None
    for name, label, pixels in zip(held_out.names, held_out.labels.tolist(), held_out.images, strict=True):
        assert known[name][0] == label
        assert torch.equal(known[name][1], pixels)


def test_classes_are_spread_evenly(task: Task) -> None:
    counts = [torch.bincount(Folds(task, 3).task(number).val.labels, minlength=4) for number in range(3)]
    assert torch.equal(torch.stack(counts), torch.full((3, 4), 4))  # 12 pictures of a class in three parts


def test_groups_stay_together(task: Task) -> None:
    names = [f"g{place // 5}_{name.replace('/', '-')}" for place, name in enumerate(task.train.names)]
    folds = Folds(replace(task, train=replace(task.train, names=names)), 3, r"^(g\d+)_")
    for number in range(len(folds)):
        one = folds.task(number)
        groups = [
            {name.split("_")[0] for name in split.names if name.startswith("g")} for split in (one.train, one.val)
        ]
        assert not groups[0] & groups[1]


def test_the_seed_decides(task: Task) -> None:
    first, again, other = (Folds(task, 3, seed=seed).task(0).val.names for seed in (0, 0, 1))
    assert first == again != other


def test_pictures_that_are_not_in_memory_are_read(task: Task) -> None:
    streamed = replace(task, train=replace(task.train, images=None), val=replace(task.val, images=None))
    rows = torch.arange(3)
    assert torch.equal(Folds(streamed, 3).task(2).val.batch(rows), Folds(task, 3).task(2).val.batch(rows))


def test_a_class_of_one_group_is_trained_on_in_every_fold(task: Task) -> None:
    """It can't be held out: no network that had not seen it would know it."""
    alone = [f"alone_{place}.png" if label == 0 else name for place, (name, label) in enumerate(labelled(task.train))]
    keep = [place for place, (_, label) in enumerate(labelled(task.val)) if label]
    assert task.val.images is not None
    val = replace(
        task.val,
        names=[task.val.names[place] for place in keep],
        labels=task.val.labels[keep],
        images=task.val.images[keep],
    )
    folds = Folds(replace(task, train=replace(task.train, names=alone), val=val), 3, r"^(alone)_")
    assert len(folds) == 3
    held_out: list[str] = []
    for number in range(len(folds)):
        one = folds.task(number)
        assert set(one.train.labels.tolist()) == {0, 1, 2, 3}
        assert 0 not in one.val.labels.tolist()
        held_out += one.val.names
    assert sorted(held_out) == sorted(name for name in alone if not name.startswith("alone"))


def labelled(split: Split) -> list[tuple[str, int]]:
    return list(zip(split.names, split.labels.tolist(), strict=True))
