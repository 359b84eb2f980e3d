"""Paths are cut at once, and the proxies that stay are fitted anew on a task's pictures."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import torch
from torch import Tensor

from blocks import Path, TailoredNet
from blocks.memory import pictures_at_once
from blocks.refit import linear_end, refit
from nettailor.data.augment import augments
from nettailor.data.batches import augmented_batches, epoch_generator, evaluation_size, normalise, sample_batches
from nettailor.data.task import Task
from nettailor.training.run import Run

PICTURES, MOST_PICTURES = 512, 1024
"""That a cut is fitted on: as many as the widest fit has unknowns for each channel, but between these."""
AT_ONCE = 64
MEASURED_BEHIND = 256
"""Pictures that a layer is fitted on to measure what may go: many sets are fitted for every layer."""
HELD = 2**30
"""Bytes that the activations of these pictures may take."""
COPIES = 2
"""Of x_0..x_L is more than is held to measure: a few layers with all paths, and the same few without those that go."""


def cut_and_refit(student: TailoredNet, kept: Iterable[Path], task: Task, run: Run) -> None:
    """Leave a student with some of its paths, its proxies fitted on training pictures."""
    refit(student, kept, pictures_to_fit_on(student, task, run), held=HELD)


def cut_blocks_and_refit(student: TailoredNet, kept: Iterable[Path], task: Task, run: Run) -> None:
    """The same, where layers are held to what they give with their blocks alone: those of a student that has begun."""
    blocks = [path for path in student.paths if path.is_universal]
    refit(student, kept, pictures_to_fit_on(student, task, run), blocks, HELD)


def pictures_to_fit_on(student: TailoredNet, task: Task, run: Run) -> Iterator[Tensor]:
    """Training pictures (B, 3, H, W), the same ones whenever they are asked for: unvaried, and where they are few, varied
    ones behind them, so that deep layers, which have few positions, are not fitted to these very pictures.
    """
    count, size = count_to_fit_on(student, task, run), min(AT_ONCE, evaluation_size(student.spec))
    yield from sample_batches(task.train, count, run.seed, student.spec, run.device, size)
    generator, more = epoch_generator(run.seed, "fit", 0), count - len(task.train)
    if more > 0:
        rows = torch.cat(
            [torch.randperm(len(task.train), generator=generator) for _ in range(0, more, len(task.train))]
        )
        plan = list(rows[:more].split(size))
        for _, images in augmented_batches(task.train, run.augmentation, student.spec, plan, generator):
            yield normalise(images, student.spec, run.device)


def count_to_fit_on(student: TailoredNet, task: Task, run: Run) -> int:
    """How many pictures that are; early layers of large pictures see fewer."""
    count = min(max(PICTURES, _widest(student)), MOST_PICTURES)
    return count if augments(run.augmentation) else min(len(task.train), count)


def pictures_to_measure_behind(student: TailoredNet, task: Task, run: Run) -> Iterator[Tensor]:
    """Unvaried training pictures (B, 3, H, W) that layers are fitted on while it is measured what may go."""
    count = count_to_measure_behind(student, task)
    return sample_batches(task.train, count, run.seed, student.spec, run.device, AT_ONCE)


def count_to_measure_behind(student: TailoredNet, task: Task) -> int:
    """How many pictures that are."""
    return min(len(task.train), pictures_at_once(student.backbone.shapes, MEASURED_BEHIND, COPIES, size=HELD))


def _widest(student: TailoredNet) -> int:
    """The most unknowns for each channel of a layer that a fit has: channels that its proxies read, side by side."""
    inputs: dict[int, int] = {}
    for path in student.paths:
        end = linear_end(student.module_of(path))
        if end is not None:
            inputs[path.target] = inputs.get(path.target, 0) + end.convolution.in_channels
    return max(inputs.values(), default=0)
