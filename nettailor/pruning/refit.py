"""Paths are cut at once, and the proxies that stay are fitted anew on a task's pictures."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from torch import Tensor

from blocks import Path, TailoredNet
from blocks.memory import pictures_at_once
from blocks.refit import refit
from nettailor.data.batches import sample_batches
from nettailor.data.task import Task
from nettailor.training.run import Run

PICTURES, AT_ONCE = 512, 64
FITTED_TO_MEASURE = 0.5
"""Of the pictures that a cut itself is fitted on: to measure what may go, many sets are fitted for every layer."""
HELD = 2**30
"""Bytes that the activations of these pictures may take."""
COPIES = 2
"""Of x_0..x_L is more than is held: a few layers with all paths, and the same few without those that go."""


def cut_and_refit(student: TailoredNet, kept: Iterable[Path], task: Task, run: Run) -> None:
    """Leave a student with some of its paths, its proxies fitted on unvaried training pictures."""
    refit(student, kept, pictures_to_fit_on(student, task, run))


def pictures_to_fit_on(student: TailoredNet, task: Task, run: Run, part: float = 1.0) -> Iterator[Tensor]:
    """Unvaried training pictures (B, 3, H, W), the same ones whenever they are asked for.

    Args:
        part: of as many as a cut is fitted on.
    """
    count = count_to_fit_on(student, task, part)
    return sample_batches(task.train, count, run.seed, student.spec, run.device, AT_ONCE)


def count_to_fit_on(student: TailoredNet, task: Task, part: float = 1.0) -> int:
    """How many pictures that are."""
    count = pictures_at_once(student.backbone.shapes, round(part * PICTURES), COPIES, size=HELD)
    return min(len(task.train), count)
