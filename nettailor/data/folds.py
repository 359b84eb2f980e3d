"""Training pictures of a task divided into parts, each of which stands once for validation.

    Task -> Folds(parts) -> task(0), task(1), ...   the same pictures, other splits; `test` stays what it is, and is not read

The task itself is one fold already: its validation pictures are held out of its training. In every other fold they are
trained on, with all parts of the training pictures but one. So each picture is held out once. Classes are spread evenly over
the parts, and groups of pictures (`data.group`) stay together, as in the splits themselves. A class that would be held out
whole, as one of a single group, is trained on in every fold and never asked for.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from nettailor.data.splits import Members, group_of, stratified
from nettailor.data.task import Split, Task


class Folds:
    """The training pictures of a task, divided by a seed; into fewer than `count` where there are fewer groups of them.

    Attributes:
        parts: rows (n,) of each part in training and validation pictures, one after the other.
    """

    def __init__(self, task: Task, count: int, group: str | None = None, seed: int = 0) -> None:
        self._task = task
        self._all = _joined(task.train, task.val)
        everything = list(zip(self._all.names, self._all.labels.tolist(), strict=True))
        left, row_of = everything[: len(task.train)], {name: row for row, name in enumerate(self._all.names)}
        order = torch.Generator().manual_seed(seed)
        self.parts: list[Tensor] = []
        for parts_left in range(count, 0, -1):
            rest, part = stratified(left, 1 / parts_left, group, order) if parts_left > 1 else ([], left)
            left = rest
            if part := _without_whole_classes(part, everything, group):
                self.parts.append(torch.tensor([row_of[name] for name, _ in part]))

    def __len__(self) -> int:
        return len(self.parts)

    @property
    def training_pictures(self) -> int:
        """Of the task itself."""
        return len(self._task.train)

    def task(self, number: int) -> Task:
        """The task whose validation pictures are those of one part, its training pictures all others, validation included."""
        held_out = torch.zeros(len(self._all), dtype=torch.bool)
        held_out[self.parts[number]] = True
        rows = torch.arange(len(self._all))
        return replace(self._task, train=_rows(self._all, rows[~held_out]), val=_rows(self._all, rows[held_out]))


def _without_whole_classes(part: Members, everything: Members, pattern: str | None) -> Members:
    """A part without the groups of those classes that have no pictures beside it."""
    held_out = set(part)
    elsewhere = {label for name, label in everything if (name, label) not in held_out}
    stay = {group_of(name, pattern) for name, label in part if label not in elsewhere}
    return [(name, label) for name, label in part if group_of(name, pattern) not in stay]


def _joined(first: Split, second: Split) -> Split:
    """The pictures of two splits of one source. Random crops are read from files: validation pictures have no others."""
    images = None
    if first.images is not None and second.images is not None:
        images = torch.cat([first.images, second.images])
    names, labels = first.names + second.names, torch.cat([first.labels, second.labels])
    return replace(first, names=names, labels=labels, images=images, photos=None)


def _rows(split: Split, rows: Tensor) -> Split:
    images = None if split.images is None else split.images[rows]
    return replace(split, names=[split.names[row] for row in rows.tolist()], labels=split.labels[rows], images=images)
