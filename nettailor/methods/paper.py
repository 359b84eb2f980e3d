"""The procedure of the NetTailor paper (Morgado & Vasconcelos, CVPR 2019) as the authors' code does it: the thing to beat.

Student: softmax gates from +2 / -2, three skips, proxies with a bottleneck beside blocks that have one, local matching (which
is what the code does; the text says end to end, see `paper_text`), the paper's expected complexity (section 3.3). Pruning
(section 3.4): proxies under 0.05 and the n weakest universal blocks go at once, for each n; each is retrained with g1 = 0,
and the leanest within half a point of the teacher on the validation split is kept.

Training as in the demos of the authors' repository (github.com/pedro-morgado/nettailor): SGD with momentum, batches of 32, 20
passes for the student and 20 for each pruned net, rates down to a tenth every 8 passes, gates at the rate of all else,
retraining at a tenth of the student's rate. Their rate of 0.1 is for ImageNet backbones: the best of a few around it is
found on the validation split, as for everybody. The teacher is that of all methods, trained as the section `training` says.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field, replace
from typing import Any, Literal

from pydantic.dataclasses import dataclass

from blocks.teachers import Teacher
from nettailor.methods._protocol import Context, MethodSettings
from nettailor.methods.nettailor import NetTailor, StageSettings
from nettailor.schema import STRICT
from nettailor.training.config import PartOfSteps, TrainingConfig
from nettailor.training.rates import loss_on, search_rate, trial_epochs
from nettailor.training.run import Run
from nettailor.training.stages import begin, new_student, train

STUDENT = {
    "proxies": "by_block",
    "start": "backbone",
    "epochs": 20,
    "batch": 32,
    "weight_decay": 5e-4,
    "batch_norm": "source",
    "rank": 0,
    "warm_start": 0,
    "complexity": "paper",
    "matching": "local",
    "matching_weight": 10.0,
    "distill_weight": 0.0,
}
PRUNE = {"how": "paper", "epochs": 20, "fade_epochs": 0}
RATES = (0.1, 0.03, 0.01)
"""Of SGD, for the student."""
RETRAIN = 0.1
"""What the student's rate is multiplied with for retraining."""


@dataclass(config=STRICT, frozen=True)
class PaperTraining(TrainingConfig):
    """The section `training` with the authors' values."""

    optimizer: Literal["adamw", "sgd"] = "sgd"
    schedule: Literal["cosine", "step", "constant"] = "step"
    steps_at: tuple[PartOfSteps, ...] = (0.4, 0.8)


@dataclass(config=STRICT, frozen=True)
class Settings(MethodSettings):
    """How the paper's student is trained and retrained; its teacher is trained by the recipe's own section `training`."""

    training: PaperTraining = field(default_factory=PaperTraining)


class PaperStudent(NetTailor):
    """NetTailor with the paper's student, trained as the authors do."""

    settings: type[MethodSettings] = Settings
    variants: Mapping[str, Mapping[str, Any]] = {}

    def student_stage(self, context: Context, teacher: Teacher) -> StageSettings:
        """SGD at the best of a few rates, gates too."""
        own, recipe = context.recipe.method, context.recipe
        assert isinstance(own, Settings)
        run, config = replace(context.run, training=own.training), recipe.student
        if config.lr is None:
            rate = _search(context, teacher, run)
            config = replace(config, lr=rate, gate_lr=rate)
        return StageSettings(run, config, recipe.prune)


class Paper(PaperStudent):
    """NetTailor as published."""

    name = "paper"
    summary = "NetTailor as published: all removals at once, for several amounts"
    defaults: Mapping[str, Any] = {"student": STUDENT, "prune": PRUNE, "recover": {"epochs": 0}}

    def prune_stage(self, context: Context, trained: StageSettings) -> StageSettings:
        """As the student, at a tenth of its rate."""
        prune = trained.prune
        if prune.lr is None and trained.student.lr is not None:
            prune = replace(prune, lr=RETRAIN * trained.student.lr)
        return replace(trained, prune=prune)


def _search(context: Context, teacher: Teacher, run: Run) -> float:
    """The rate whose short training of a fresh student ends with the lowest loss on validation."""
    backbone, task, config = context.backbone, context.task, context.recipe.student

    def trial(rate: float, run: Run) -> float:
        student = new_student(backbone, task, config, run)
        epochs = trial_epochs(len(task.train), config.batch, run.training.accumulate)
        tried = replace(config, lr=rate, gate_lr=rate, epochs=epochs)
        begin(student, task, tried, run, teacher)
        train(student, teacher, task, tried, run)
        return loss_on(student, task.val, backbone.spec)

    return search_rate("student", trial, task, config.batch, run, RATES)


METHOD = Paper()
