"""What every way of pruning needs, and how a network loses paths: at once or fading, fitted anew, trained or not."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial

from blocks import Path, TailoredNet
from blocks.teachers import Teacher
from nettailor.data.task import Task
from nettailor.pruning.config import PruneConfig
from nettailor.pruning.criterion import ROUNDING
from nettailor.pruning.fade import Fade
from nettailor.pruning.graph import BlockGraph
from nettailor.pruning.importance import Refits, loss_left_with
from nettailor.pruning.refit import count_to_fit_on, cut_and_refit
from nettailor.pruning.rounds import Trial, recoverable
from nettailor.pruning.states import snapshot
from nettailor.training import passes
from nettailor.training.checkpoint import restore
from nettailor.training.config import StudentConfig
from nettailor.training.loop import accuracy
from nettailor.training.run import Run
from nettailor.training.stages import fit_student, student_rate, students_rate_keeps_features

OF_FEW_CLASSES = 2.5  # nats, as of twelve: an untrained cut may well be worse than a guess, and training still mends it
UNTRAINED = 0.03  # below the drop: where a round's network is no lower, fitted anew, none is trained


@dataclass(frozen=True)
class Job:
    """What every way of pruning needs.

    Attributes:
        floor: the teacher's accuracy on the validation split.
        below: a price that every network is to be below.
    """

    student: TailoredNet
    teacher: Teacher
    task: Task
    config: PruneConfig
    settings: StudentConfig
    run: Run
    floor: float
    below: float = math.inf

    @property
    def least(self) -> float:
        """The lowest accuracy on the validation split that is within the drop."""
        return self.floor - self.config.drop / 100 - ROUNDING

    @property
    def rate(self) -> float:
        """Peak learning rate of every training between removals."""
        return student_rate(self.config.lr, self.run)

    @property
    def keeps_features(self) -> bool:
        """Whether that is one that keeps pretrained features."""
        return students_rate_keeps_features(self.config.lr, self.run)

    def reach(self, value: float) -> float:
        """How far below the drop a network of this accuracy on validation may be, and still be worth recovering."""
        return recoverable(value, len(self.task.val), self.keeps_features, self.floor)

    @property
    def fits_anew(self) -> bool:
        """Whether paths are cut at once, and the proxies that stay fitted anew."""
        return self.config.refits(self.keeps_features)

    @property
    def refits(self) -> Refits | None:
        """How losses are measured behind such a fit."""
        return Refits.of(self.student, self.task, self.run, self.teacher) if self.fits_anew else None

    def without(self, stage: str, left: BlockGraph, chosen: list[Path]) -> Trial:
        """Remove what is not in `left`, train on, and measure."""
        epochs = passes.of_round(self.keeps_features).over(
            len(self.task.train), self.settings.batch, self.config.epochs, accumulate=self.run.training.accumulate
        )
        removal = self._removal(left, epochs)
        if self.fits_anew and self._refit_is_enough(stage, removal, left):
            value, epochs = removal.memory["after_cut"], 0
        else:
            value, epochs = self._trained(stage, removal, epochs)
        paths, removed = [path.key for path in left.paths], [path.key for path in chosen]
        before, after = removal.memory.get("before_cut"), removal.memory.get("after_cut")
        return Trial(paths, left.macs(), left.price(), value, removed, epochs, before, after)

    def may_go_at_once(self, left: BlockGraph, pictures: int) -> bool:
        """Whether so little is lost, nothing trained, that a round may be of several steps."""
        if not self.fits_anew:
            return loss_left_with(self.student, left, self.task, pictures) <= self._largest_loss
        before = snapshot(self.student)
        cut_and_refit(self.student, left.paths, self.task, self.run)
        value = accuracy(self.student, self.task.val)
        restore(self.student.task_tensors(), before, "student")
        return self.needs_no_training(value)

    @property
    def _largest_loss(self) -> float:
        """That a cut of several steps at once may add, nothing trained: left out, what guessing among many classes loses."""
        configured = self.config.largest_loss
        return max(OF_FEW_CLASSES, math.log(len(self.task.classes))) if configured is None else configured

    def to_look_ahead(self, pictures: int) -> int:
        """How many pictures that takes: with all paths and with those that would be left, or to fit these and judge."""
        if not self.fits_anew:
            return 2 * min(pictures, len(self.task.val))
        return 2 * count_to_fit_on(self.student, self.task, self.run) + len(self.task.val)

    def needs_no_training(self, value: float) -> bool:
        """Whether a network that is fitted anew is accurate enough to go on from."""
        return value >= self.least - UNTRAINED

    def say(self, what: str, trial: Trial, more: str = "") -> None:
        """Show what a network that was tried costs and reaches."""
        trained = "" if trial.epochs else ", fitted anew and not trained"
        reached = f"val_accuracy {trial.val_accuracy:.3f} (teacher {self.floor:.3f})"
        figures = f"{trial.macs / 1e6:.2f} M MACs in paths, {reached}{trained}{more}"
        self.run.display.say(f"prune      {what}: without {len(trial.removed)} paths: {figures}")

    def _trained(self, stage: str, removal: Fade, epochs: int) -> tuple[float, int]:
        """Train while the removal goes on: the accuracy at its end, and the passes that it took."""
        fitted = fit_student(
            stage,
            self.student,
            self.teacher,
            self.task,
            self.settings,
            epochs,
            self.rate,
            self.run,
            removal,
        )
        if removal.is_over:
            return fitted.metrics["val_accuracy"], fitted.epochs
        removal(epochs)  # a training of a single step has no time to fade
        return accuracy(self.student, self.task.val), fitted.epochs

    def _refit_is_enough(self, stage: str, removal: Fade, left: BlockGraph) -> bool:
        """Cut and fit anew, or go on with the training behind that: whether no training follows."""
        if self.run.checkpoints.has(stage):
            self.student.keep(left.paths)
            return False
        removal(0.0)
        return self.config.epochs is None and self.needs_no_training(removal.memory["after_cut"])

    def _removal(self, left: BlockGraph, epochs: int) -> Fade:
        if self.fits_anew:
            return Fade(self.student, left, 0, self.task.val, partial(cut_and_refit, task=self.task, run=self.run))
        wanted = self.config.fade_epochs
        return Fade(self.student, left, epochs / 2 if wanted is None else min(wanted, epochs / 2), self.task.val)
