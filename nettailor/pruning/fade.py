"""Removed paths fade out while a student trains, or not, and are then cut: an instance of `training.loop.BeforeStep`."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from blocks import Path, TailoredNet
from nettailor.data.task import Split
from nettailor.pruning.graph import BlockGraph
from nettailor.training.loop import accuracy

Cut = Callable[[TailoredNet, Iterable[Path]], None]


class Fade:
    """Fades out, while a student trains, every path that is not in a graph, and then cuts it.

    Args:
        left: what stays.
        epochs: how long the fading takes; 0 is at once.
        val: where accuracy is measured just before and just after the cut.
        cut: leaves the student with what stays; removes the rest and no more, if left out.
    """

    def __init__(
        self, student: TailoredNet, left: BlockGraph, epochs: float, val: Split, cut: Cut = TailoredNet.keep
    ) -> None:
        self.memory: dict[str, float] = {}
        self._student, self._left, self._epochs, self._val, self._cut = student, left, epochs, val, cut
        kept = set(left.paths)
        self._gone = [path for path in student.live_paths() if path not in kept]

    @property
    def is_over(self) -> bool:
        """Whether there is nothing left to fade."""
        return not self._gone or "after_cut" in self.memory

    def __call__(self, epoch: float) -> None:
        """Set the fades `epoch` epochs after the training began."""
        if self.is_over:
            return
        if epoch < self._epochs:
            for path in self._gone:
                self._student.gates.fade[path.place] = (1 - epoch / self._epochs) ** 2  # the last step is the smallest
            return
        self.memory["before_cut"] = accuracy(self._student, self._val)
        self._cut(self._student, self._left.paths)
        self.memory["after_cut"] = accuracy(self._student, self._val)
