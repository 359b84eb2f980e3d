"""What a run measures beside its target while a network is fine-tuned: source accuracy and general discrimination.

    Context -> Beside -> watched(objective) -> after every pass: metrics; a moment in the checkpoint -> record -> SourceRecord

Where the recipe names neither source nor probe pictures, objectives are handed on as they are.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import torch

from blocks import Backbone
from nettailor import methods
from nettailor.artifacts.source_record import PassFigures, ProbeFigures, SourceFigures, SourceRecord
from nettailor.data.task import Task
from nettailor.methods._protocol import Context
from nettailor.training.config import TeacherConfig
from nettailor.training.discrimination import OWN_NORMS, PROBE, SOURCE, Discrimination
from nettailor.training.finetuning import STAGE, Objective, ObjectiveOf, labels_alone
from nettailor.training.run import Run
from nettailor.training.soft import READ, Clock
from nettailor.training.source_head import SourceHead, source_head
from nettailor.training.source_weight import SourceWeight

TIMED_AS = "beside"
"""The stage that the time of measuring counts for; no method's training needs it, and a board leaves it out."""


@dataclass
class _Watch:
    """What was measured after every pass, in the memory that is kept with the checkpoint; passes steps on to a clock."""

    clock: Clock | None
    memory: dict[str, float] = field(default_factory=dict)
    is_over = True

    def __post_init__(self) -> None:
        if self.clock is not None:
            self.memory = self.clock.memory

    def __call__(self, epoch: float, /) -> None:
        if self.clock is not None:
            self.clock(epoch)

    def take_down(self, number: int, seconds: float, figures: dict[str, float]) -> None:
        """Keep what was measured after `number` passes."""
        figures = {**figures, READ: self.memory.get(READ, 0), "seconds": seconds}
        self.memory.update({f"{number}.{name}": value for name, value in figures.items()})

    def passes(self, weight: SourceWeight | None, epochs: int) -> list[PassFigures]:
        """All moments so far, in their order."""
        moments: dict[int, dict[str, float]] = {}
        for key, value in self.memory.items():
            number, dot, name = key.partition(".")
            if dot and number.isdecimal():
                moments.setdefault(int(number), {})[name] = value
        return [
            PassFigures(
                number,
                val_accuracy=found.get("val_accuracy"),
                source_accuracy=found.get(SOURCE),
                probe_accuracy=found.get(PROBE),
                source_weight=None if weight is None else weight(number / epochs),
                source_pictures=int(found[READ]),
                seconds=found["seconds"],
            )
            for number, found in sorted(moments.items())
        ]


class Beside:
    """Source and probe of one run.

    Attributes:
        head: the classifier that answers for the source pictures; None where none are named.

    Raises:
        UsageError: the source pictures' classes are not those that the recipe says.
    """

    def __init__(self, context: Context) -> None:
        recipe, run = context.recipe, context.run
        self.head: SourceHead | None = None
        self._context, self._run = context, run
        if context.source is not None:
            learns_from_it = methods.find(recipe.method.name).needs_source
            with run.timed(STAGE if learns_from_it else TIMED_AS):
                self.head = source_head(context.backbone, context.source, recipe.source, run)
        measured_on, neighbours = recipe.source.measured_on, recipe.probe.neighbours
        self._measure = Discrimination(run, context.source, self.head, context.probe, measured_on, neighbours)
        self._before: dict[str, float] = {}
        self._weight: SourceWeight | None = None
        self._watch, self._epochs = _Watch(None), 1

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to measure."""
        return self._context.source is None and self._context.probe is None

    def watched(self, towards: ObjectiveOf[Backbone]) -> ObjectiveOf[Backbone]:
        """An objective that also measures, before the first step and after every pass of the run's own training.

        The short trainings that search for a rate learn from the labels alone: the rate is that of plain fine-tuning.
        """

        def objective(net: Backbone, task: Task, config: TeacherConfig, run: Run) -> Objective:
            if run.fitted is not self._run.fitted:
                return labels_alone(net, task, config, run)
            made = towards(net, task, config, run)
            clock = made.before_step if isinstance(made.before_step, Clock) else None
            self._watch, self._epochs = _Watch(clock), config.epochs
            self._weight = None if clock is None else clock.weight
            if self.is_empty:
                return made
            self._begin()

            def evaluate(epoch: int) -> dict[str, float]:
                with self._run.timed(TIMED_AS):
                    return {**made.evaluate(epoch), **self._measure(net)}

            def passed(epoch: int, metrics: dict[str, float]) -> None:
                self._watch.take_down(epoch, self._run.seconds.totals.get(STAGE, 0.0), metrics)

            return replace(made, evaluate=evaluate, before_step=self._watch, passed=passed)

        return objective

    def record(self, net: Backbone, first_tuned: int) -> SourceRecord | None:
        """All that was measured; None where there was nothing to measure.

        Args:
            net: what the training ended with; the pretrained network with a linear probe where that was better.
            first_tuned: the layer from which on it was trained.
        """
        if self.is_empty:
            return None
        context, recipe = self._context, self._context.recipe
        with self._run.timed(TIMED_AS):
            is_source = first_tuned <= net.depth and _same_features(net, context.backbone)
            after = self._before if is_source else self._measure(net, whole=True)
        source, probe = context.source, context.probe
        return SourceRecord(
            context.task.name,
            recipe.method.name,
            recipe.seed,
            None if source is None else self._source_figures(after),
            None
            if probe is None
            else ProbeFigures(
                probe.name,
                len(probe.classes),
                len(probe.gallery),
                len(probe.queries),
                recipe.probe.neighbours,
                self._before[PROBE],
                after[PROBE],
            ),
            self._watch.passes(self._weight, self._epochs),
        )

    def _begin(self) -> None:
        """Measure the backbone: what the network is before its first step."""
        backbone = self._context.backbone
        with self._run.timed(TIMED_AS):
            self._before = self._measure(backbone, whole=True)
            first = self._measure.after_no_pass(backbone, self._before)
        self._watch.take_down(0, self._run.seconds.totals.get(STAGE, 0.0), first)

    def _source_figures(self, after: dict[str, float]) -> SourceFigures:
        source, head = self._context.source, self.head
        assert source is not None
        assert head is not None
        return SourceFigures(
            data=source.name,
            classes=len(source.classes),
            train=len(source.train),
            held_out=len(source.held_out),
            held_out_as=source.held_out_as,
            crop=source.crop,
            head=head.kind,
            told_by=head.told_by,
            accuracy_before=self._before[SOURCE],
            accuracy_after=after[SOURCE],
            own_norms_before=self._before[OWN_NORMS],
            own_norms_after=after[OWN_NORMS],
            pictures_read=int(self._watch.memory.get(READ, 0)),
        )


def _same_features(net: Backbone, backbone: Backbone) -> bool:
    """Whether a network is the backbone but for its classifier."""
    mine, theirs = net.tensors(), backbone.tensors()
    return all(torch.equal(mine[name], theirs[name]) for name in theirs)
