"""Removed paths are cut at once, and the proxies that stay make up for them: an instance of `training.loop.BeforeStep`.

Refit(student, left, task, run)(0.0) -> accuracy before -> blocks.refit on training pictures -> accuracy after
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from blocks import Path, TailoredNet
from blocks.memory import pictures_at_once
from blocks.refit import refit
from nettailor.data.batches import sample_batches
from nettailor.data.task import Task
from nettailor.pruning.graph import BlockGraph
from nettailor.training.loop import accuracy
from nettailor.training.rates import keeps_features
from nettailor.training.run import Run

Cut = Literal["auto", "refit", "fade"]

PICTURES, AT_ONCE = 512, 64
HELD = 2**30
"""Bytes that the activations of these pictures may take."""
COPIES = 2
"""Of x_0..x_L is more than is held: a few layers with all paths, and the same few without those that go."""


def refits(cut: Cut, rate: float, fade_epochs: float | None = None) -> bool:
    """Whether proxies are fitted anew after a cut.

    Args:
        cut: `auto` is `refit` where the rate keeps pretrained features and no time to fade is given. At such rates training
            brings back little of what a removal took.
        rate: at which the student is trained while it is pruned.
    """
    return cut == "refit" or (cut == "auto" and fade_epochs is None and keeps_features(rate))


def cut_and_refit(student: TailoredNet, kept: Iterable[Path], task: Task, run: Run) -> None:
    """Leave a student with some of its paths, its proxies fitted on unvaried training pictures."""
    count = pictures_at_once(student.backbone.shapes, PICTURES, COPIES, size=HELD)
    refit(student, kept, sample_batches(task.train, count, run.seed, student.spec, run.device, AT_ONCE))


class Refit:
    """Cuts, before the first step of a training, every path that is not in a graph, and fits what stays.

    Args:
        left: what stays.
    """

    def __init__(self, student: TailoredNet, left: BlockGraph, task: Task, run: Run) -> None:
        self.memory: dict[str, float] = {}
        self._student, self._left, self._task, self._run = student, left, task, run
        kept = set(left.paths)
        self._has_work = any(path not in kept for path in student.live_paths())

    @property
    def is_over(self) -> bool:
        """Whether it was cut, or nothing is to go."""
        return not self._has_work or "after_cut" in self.memory

    def __call__(self, epoch: float) -> None:
        """Cut, whatever the epoch, unless that is over."""
        if self.is_over:
            return
        self.memory["before_cut"] = accuracy(self._student, self._task.val)
        cut_and_refit(self._student, self._left.paths, self._task, self._run)
        self.memory["after_cut"] = accuracy(self._student, self._task.val)
