"""Methods that train a net as a whole, all of it the task's own: controls of another architecture.

    build -> net -> search of the rate -> fit to labels, or to labels and a teacher's answers -> compact

They train with the section `teacher`: its learning rate, weight decay, batch, label smoothing and layer decay. How long is
`passes`: all that ours took, its teacher included, so that what a net learns from is compared and not how long. A teacher
that it learns from itself and the search for its own rate are part of them.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass

from blocks import compact
from blocks.counting import tensors_of
from blocks.shallow import ShallowNet
from blocks.teachers import Teacher
from blocks.whole import WholeNet
from nettailor.methods._protocol import Context, FinishedRun, MethodSettings, Plain, Sections, Trained
from nettailor.methods._teachers import stages_of_teacher, teach
from nettailor.schema import STRICT, Positive
from nettailor.training.distillation import fit_distilled
from nettailor.training.finetuning import fit_to_labels
from nettailor.training.layerwise import layerwise_groups
from nettailor.training.loop import Schedule
from nettailor.training.rates import loss_on, rates_of, search_rate, trial_epochs
from nettailor.training.run import Run

Passes = Annotated[
    Positive | None,
    Field(
        description="over the training pictures, in all: its teacher's if it has one, the search for its rate, its own; "
        "compare takes all of ours; left out: teacher.epochs of its own"
    ),
]
Distill = Annotated[
    bool, Field(description="learn from the teacher's answers too, by student.distill_weight and student.temperature")
]


@dataclass(config=STRICT, frozen=True)
class WholeSettings(MethodSettings):
    """How long a whole net is trained, and on what."""

    passes: Passes = None
    distill: Distill = False


class WholeNetMethod(Plain):
    """A net of another architecture than ours, or of ours, trained as a whole."""

    name: str
    settings: type[MethodSettings] = WholeSettings
    sized_like: str | None = "nettailor"
    variants: Mapping[str, Mapping[str, Any]] = {"distill": {"distill": True}}

    @abstractmethod
    def build(self, context: Context) -> ShallowNet | WholeNet:
        """A fresh net, on the CPU; what is random in it is seeded already.

        Raises:
            UsageError: this backbone has no such net.
        """

    def wants_teacher(self, own: MethodSettings) -> bool:
        """Where it learns from one."""
        return whole(own).distill

    def gives_activations(self, own: MethodSettings) -> bool:
        """Blocks are left out."""
        return False

    def stages(self, recipe: Sections) -> dict[str, int]:
        """One, after the teacher's if it learns from one."""
        own, epochs = whole(recipe.method), recipe.teacher.epochs
        before = {"teacher": stages_of_teacher(recipe)} if own.distill else {}
        return {**before, self.name: epochs if own.passes is None else epochs_left(own.passes, sum(before.values()))}

    def train(self, context: Context) -> Trained:
        """One stage, called after the method, after the teacher's if it learns from one."""
        task, run, config = context.task, context.run, context.recipe.teacher
        self.build(context)  # refused before any training
        taught = teach(context) if whole(context.recipe.method).distill else None
        teacher = None if taught is None else taught.net

        def trained(rate: float, epochs: int, run: Run) -> ShallowNet | WholeNet:
            return self._fitted(context, teacher, rate, epochs, run)

        def trial(rate: float, run: Run) -> float:
            net = trained(rate, trial_epochs(len(task.train), config.batch, run.training.accumulate), run)
            return loss_on(net, task.val, net.spec)

        with run.timed(self.name):
            rate = config.lr
            if rate is None:
                rate = search_rate(self.name, trial, task, config.batch, run, rates_of(run.training))
            net = trained(rate, self._epochs(context), run)
        epochs: dict[str, float] = {"teacher": run.passes("teacher")} if teacher is not None else {}
        return Trained(compact(net, context.backbone), taught, {**epochs, self.name: run.passes(self.name)})

    def sized(self, own: MethodSettings, other: FinishedRun) -> MethodSettings:
        """As many passes as all of another run."""
        return replace(whole(own), passes=other.passes)

    def _epochs(self, context: Context) -> int:
        """Passes of its own training: those that the teacher and the search for the rate have left."""
        passes, run = whole(context.recipe.method).passes, context.run
        if passes is None:
            return context.recipe.teacher.epochs
        search = run.fitted.get(f"{self.name}-rate")
        spent = 0 if search is None else search.epochs
        return epochs_left(passes, spent + (run.passes("teacher") if "teacher" in run.fitted else 0))

    def _fitted(
        self, context: Context, teacher: Teacher | None, rate: float, epochs: int, run: Run
    ) -> ShallowNet | WholeNet:
        config, task = context.recipe.teacher, context.task
        torch.manual_seed(run.seed + 1)
        net = self.build(context).to(run.device)
        groups = layerwise_groups(net, rate, config.weight_decay, config.layer_decay)
        job = self.name, net, tensors_of(net), groups, Schedule(epochs, config.batch), task, run
        if teacher is None:
            fit_to_labels(*job, config.label_smoothing)
        else:
            fit_distilled(*job, teacher, context.recipe.student, config.label_smoothing)
        return net


def epochs_left(passes: float, spent: float) -> int:
    """Whole passes of a training that is to end at `passes`; at least one."""
    return max(1, round(passes - spent))


def whole(own: MethodSettings) -> WholeSettings:
    """Settings of a whole net's method, as those."""
    assert isinstance(own, WholeSettings)
    return own
