"""What a student is held to: a teacher's logits, and its activations where these are matched.

    training pictures -> a fixed set of augmented views -> teacher, once -> (views, answers) for every training of a run
                      -> new views in every pass -> teacher, in every step                    where they do not fit in memory

A student trains in many short stages. With fixed views the teacher answers each of them once and not in every pass. Where no
term of the loss reads an answer the teacher is not asked; the views are the same.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from blocks.batching import batch_slices
from blocks.teachers import Teacher
from nettailor.data.augment import augments
from nettailor.data.batches import (
    augmented_batches,
    epoch_generator,
    evaluation_batches,
    evaluation_size,
    normalise,
    steps_per_epoch,
)
from nettailor.data.task import Split
from nettailor.training.config import StudentConfig
from nettailor.training.mixing import mixes
from nettailor.training.run import Run

USUAL_VIEWS = 8


def reads_answers(config: StudentConfig) -> bool:
    """Whether any term of a student's loss reads what its teacher says."""
    return matches(config) or config.distill_weight > 0


def matches(config: StudentConfig) -> bool:
    """Whether a student's activations are matched to its teacher's."""
    return bool(config.matching_weight)


def _kind(config: StudentConfig) -> tuple[bool, bool, int]:
    """Whether activations are matched, whether the teacher is asked at all, and about how many views."""
    return matches(config), reads_answers(config), USUAL_VIEWS if config.views is None else config.views


class TeacherTargets:
    """A teacher's answers to training pictures.

    Where pictures are mixed, or views and answers do not fit into the memory that the recipe allows, none are known and the
    teacher answers in every step.

    Attributes:
        teacher: its norms folded, for pictures whose answers are not known.
    """

    def __init__(self, teacher: Teacher, split: Split, config: StudentConfig, run: Run) -> None:
        self.teacher = teacher.frozen_copy()
        self._of, self._split, self._run = teacher, split, run
        self._kind = _kind(config)
        self._matched, self._asked, count = self._kind
        self._views: list[Tensor] = []
        self._known: list[Tensor] = []
        varied = augments(run.augmentation)
        count = count if varied else 1
        if count and not mixes(run.training) and self._bytes(count, varied) <= run.augmentation.memory_gib * 2**30:
            self._answer([self._view(number) for number in range(count)] if varied else [])

    @classmethod
    def of(cls, teacher: Teacher, split: Split, config: StudentConfig, run: Run) -> TeacherTargets:
        """Those that the run has already, where they are of this teacher, split and kind; else new ones, which it keeps."""
        kept = run.targets
        if kept is None or kept._of is not teacher or kept._split is not split or kept._kind != _kind(config):
            kept = run.targets = cls(teacher, split, config, run)
        return kept

    def _bytes(self, count: int, varied: bool) -> int:
        answers = 4 * self._of.classes if self._asked else 0
        if self._matched:
            answers += 4 * sum(math.prod(shape) for shape in self._of.shapes)
        pictures = 3 * self._split.size**2 if varied else 0
        return count * len(self._split) * (answers + pictures)

    def _view(self, number: int) -> Tensor:
        """All pictures, each augmented once, uint8 (N, 3, S, S)."""
        run, split, spec = self._run, self._split, self._of.spec
        generator = epoch_generator(run.seed, "views", number)
        plan = [torch.arange(len(split))[part] for part in batch_slices(len(split), evaluation_size(spec))]
        batches = augmented_batches(split, run.augmentation, spec, plan, generator)
        return torch.cat([images.round().clamp(0, 255).to(torch.uint8) for _, images in batches])

    @torch.no_grad()
    def _answer(self, views: list[Tensor]) -> None:
        run, self._views = self._run, views
        if not self._asked:
            return
        found: list[list[Tensor]] = []
        with run.autocast():
            for x in self._pictures(views):
                found.append(self.teacher.activations(x) if self._matched else [self.teacher(x)])
        self._known = [torch.cat(layer) for layer in zip(*found, strict=True)]

    def _pictures(self, views: list[Tensor]) -> Iterator[Tensor]:
        """Normalised batches (B, 3, S, S) of all views, one view after the other; of the split itself without views."""
        spec, device = self._of.spec, self._run.device
        if not views:
            yield from (x for x, _ in evaluation_batches(self._split, spec, device))
        for view in views:
            for part in batch_slices(len(view), evaluation_size(spec)):
                yield normalise(view[part], spec, device)

    def known(self, rows: Tensor) -> list[Tensor] | None:
        """The answers to pictures by the rows that came with them: x_0..x_L if matched, and the logits; None if not known."""
        return [layer[rows.to(layer.device)] for layer in self._known] or None

    @property
    def has_views(self) -> bool:
        """Whether students train on fixed views: `batches`."""
        return bool(self._views)

    def batches(self, batch: int, generator: torch.Generator) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """One epoch over one of the views, in random order: normalised (B, 3, S, S), labels (B,), rows for `known`."""
        split, count = self._split, len(self._split)
        number = int(torch.randint(len(self._views), (1,), generator=generator))
        order = torch.randperm(count, generator=generator)
        for step in range(steps_per_epoch(split, batch)):
            rows = order[step * batch : (step + 1) * batch]
            x = normalise(self._views[number][rows], self._of.spec, self._run.device)
            yield x, split.labels[rows].to(self._run.device), number * count + rows
