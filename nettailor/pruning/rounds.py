"""Where a gradual pruning stands: what was tried, the best so far, and from which network the next round goes on.

Trial of a round -> Rounds.record -> best, misses -> (undo, redo) -> checkpoint after every round -> resume
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Any

from torch import Tensor

from blocks import TailoredNet
from nettailor.data.task import Task
from nettailor.errors import FileError
from nettailor.pruning.graph import BlockGraph
from nettailor.pruning.states import snapshot
from nettailor.training.checkpoint import restore
from nettailor.training.loop import accuracy
from nettailor.training.passes import is_hard
from nettailor.training.run import Run

RECOVERABLE = 0.15  # of accuracy: what recovery is expected to bring; 0.06 to 0.19 in docs/bench/training_time
LESS_RECOVERABLE = 0.1  # at rates that keep pretrained features, and on hard tasks: less
UNCERTAIN = 3  # standard errors of an accuracy: where few pictures judge, a network may have fallen less than it seems


def recoverable(value: float, pictures: int, keeps_features: bool, taught: float) -> float:
    """How far below the drop a network may be, by its accuracy on so many pictures, and still be worth recovering.

    Args:
        keeps_features: whether that is at a rate that keeps pretrained features.
        taught: the teacher's accuracy on these pictures.
    """
    usual = LESS_RECOVERABLE if keeps_features or is_hard(taught) else RECOVERABLE
    return max(usual, UNCERTAIN * math.sqrt(value * (1 - value) / pictures))


@dataclass
class Trial:
    """One network that was tried.

    Attributes:
        paths: what it keeps.
        macs, price: of its paths; the price is in the unit that the run counts in.
        val_accuracy: after its training.
        removed: what this round took away.
        epochs: passes over the training pictures.
        before_cut, after_cut: accuracy on the validation split just before and just after the paths were cut; where proxies
            are fitted anew, after that.
        undone: whether the next round went on from where this one began.
        from_blocks: whether it was cut out of the blocks as they began, and not out of the student as it was trained.
    """

    paths: list[str]
    macs: int
    price: float
    val_accuracy: float
    removed: list[str]
    epochs: int = 0
    before_cut: float | None = None
    after_cut: float | None = None
    undone: bool = False
    from_blocks: bool = False


@dataclass(frozen=True)
class Whole:
    """What the task owns of the student with all blocks and no proxy, which costs what the teacher costs."""

    tensors: dict[str, Tensor]
    val_accuracy: float

    @classmethod
    def of(cls, student: TailoredNet, task: Task) -> Whole:
        """Of an unpruned student, which is left as it is."""
        before = snapshot(student)
        student.keep(path for path in student.paths if path.is_universal)
        found = cls(snapshot(student), accuracy(student, task.val))
        restore(student.task_tensors(), before, "student")
        return found


@dataclass
class Rounds:
    """Where a gradual pruning stands; saved after every round.

    Attributes:
        steps: what the task owned after each trial.
        at: the trial from whose end the next one goes on, counted from 1; 0 is the unpruned student.
        careful: each round is of one step: folds will judge, or a round of several has been undone.
        prefix: of the names of its checkpoints, where a run searches more than once.
    """

    best: dict[str, Tensor]
    best_value: float
    peak: float
    trials: list[Trial] = field(default_factory=list)
    steps: list[dict[str, Tensor]] = field(default_factory=list)
    importance_passes: float = 0.0
    misses: int = 0
    over: bool = False
    at: int = 0
    careful: bool = False
    prefix: str = ""

    def record(
        self, student: TailoredNet, trial: Trial, least: float, allowed: float, reach: float = RECOVERABLE
    ) -> None:
        """Take a round's network for the best so far where it is within the drop: it is leaner than all before it.

        The first rounds may leave more than a network without any proxy costs.

        Args:
            reach: how far below the drop recovery may bring it back from.
        """
        value = trial.val_accuracy
        self.trials.append(trial)
        self.steps.append(snapshot(student))
        self.peak = max(self.peak, value)
        enough = least if self.peak >= least else self.peak - allowed
        self.misses = 0 if value >= enough - reach else self.misses + 1
        if trial.price <= student.cost_model.blocks and value >= enough:
            self.best, self.best_value = self.steps[-1], value
        self.at = len(self.trials)

    def undo(self, student: TailoredNet, at: int, start: dict[str, Tensor]) -> None:
        """Go back to where the last trial began, and on from there in single steps.

        Args:
            at: the trial that it began at the end of; 0 for the unpruned student.
            start: what the task owned before the first one.
        """
        self.trials[-1].undone = True
        self.at, self.careful, self.misses = at, True, 0
        restore(student.task_tensors(), self.steps[self.at - 1] if self.at else start, "student")

    def was_undone(self, left: BlockGraph) -> bool:
        """Whether the last trial left this network, and was undone."""
        last = self.trials[-1] if self.trials else None
        return last is not None and last.undone and last.paths == [path.key for path in left.paths]

    def redo(self, student: TailoredNet) -> None:
        """Go on from the end of the last trial after all."""
        self.trials[-1].undone = False
        self.at, self.misses = len(self.trials), 1
        restore(student.task_tensors(), self.steps[-1], "student")

    @classmethod
    def fresh(cls, student: TailoredNet, task: Task, whole: Whole | None = None) -> Rounds:
        """Before the first round the best is the student without its proxies, which costs what the teacher costs.

        Args:
            whole: that one; left out, it is looked at here.
        """
        whole = whole or Whole.of(student, task)
        value = whole.val_accuracy
        return cls(whole.tensors, value, max(accuracy(student, task.val), value))

    @classmethod
    def resume(
        cls, student: TailoredNet, task: Task, run: Run, whole: Whole | None = None, prefix: str = ""
    ) -> tuple[Rounds, dict[str, Tensor]]:
        """The state at the last finished round, also put into the student, or a fresh one; and the tensors it began with."""
        kept, start = run.checkpoints.load(f"{prefix}prune"), snapshot(student)
        if kept is None:
            return replace(cls.fresh(student, task, whole), prefix=prefix), start
        tensors, notes = kept
        device = student.gates.fade.device
        trials = [Trial(**trial) for trial in notes.pop("trials")]
        notes.pop("seconds", None)  # 0.1.0 kept them here
        steps = []
        for number in range(1, len(trials) + 1):
            saved = run.checkpoints.load(f"{prefix}step-{number}")
            if saved is None:
                raise FileError(
                    f"checkpoint/{prefix}step-{number}.safetensors", "is gone; remove the run's folder to begin anew"
                )
            steps.append({name: tensor.to(device) for name, tensor in saved[0].items()})
        at = notes.setdefault("at", len(trials))  # earlier versions undid nothing
        notes.pop("from_student", None)  # earlier versions cut the first networks out of the trained student
        restore(student.task_tensors(), steps[at - 1] if at else start, "checkpoint of prune")
        best = {name: tensor.to(device) for name, tensor in tensors.items()}
        return cls(best, trials=trials, steps=steps, prefix=prefix, **notes), start

    def save(self, student: TailoredNet, run: Run, number: int) -> None:
        """Save, then drop the checkpoint of the round that is now behind us."""
        notes: dict[str, Any] = {
            "best_value": self.best_value,
            "peak": self.peak,
            "trials": [vars(trial) for trial in self.trials],
            "importance_passes": self.importance_passes,
            "misses": self.misses,
            "over": self.over,
            "at": self.at,
            "careful": self.careful,
        }
        run.checkpoints.save(f"{self.prefix}step-{number}", self.steps[-1], {})
        run.checkpoints.save(f"{self.prefix}prune", self.best, notes)
        run.checkpoints.drop(f"{self.prefix}prune-{number}")
