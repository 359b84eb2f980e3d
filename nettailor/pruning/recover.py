"""After pruning: the leanest network that is within the drop once what is left of it has been trained.

Pruned.trials, steps -> the chosen network, and some leaner ones that are a little below -> recover each -> Recovered
"""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Tensor

from blocks import Backbone, TailoredNet
from nettailor.data.task import Task
from nettailor.pruning.graph import BlockGraph
from nettailor.pruning.prune import ROUNDING, Pruned, snapshot
from nettailor.training.checkpoint import restore
from nettailor.training.config import RecoverConfig, StudentConfig
from nettailor.training.loop import Run
from nettailor.training.stages import recover

NEAR = 0.03  # of accuracy below the drop: recovery has brought networks up by 2.3 points


@dataclass
class Attempt:
    """One network's recovery: the MACs of its paths, and its accuracy on the validation split before and after."""

    macs: int
    before: float
    after: float


@dataclass
class Recovered:
    """What recovery ended with, and all that was tried, in order."""

    graph: BlockGraph
    val_accuracy: float
    attempts: list[Attempt] = field(default_factory=list)
    epochs: int = 0


def recover_leanest(
    student: TailoredNet,
    teacher: Backbone,
    task: Task,
    pruned: Pruned,
    config: RecoverConfig,
    drop: float,
    settings: StudentConfig | None = None,
    run: Run | None = None,
) -> Recovered:
    """Recover a pruned student in place: the leanest that was found to be within the drop afterwards.

    What pruning passed below its config is searched by halves, up to `config.leaner` networks of it. Only where none of them
    is within the drop the choice itself is recovered. Where that is not either, the leanest within the drop of the most
    accurate is taken. A network that recovery does not help stays as it was.

    Args:
        drop: in points.
    """
    result = Recovered(pruned.graph, pruned.val_accuracy)
    if not config.epochs:
        return result
    job = _Job(student, teacher, task, config, settings, run or Run(), result)
    chosen = _Candidate("recover", snapshot(student), pruned.val_accuracy)
    ended: list[tuple[Attempt, dict[str, Tensor]]] = []
    good: tuple[Attempt, dict[str, Tensor]] | None = None
    left = _leaner(pruned)  # the dearest first
    while left and len(ended) < config.leaner:
        middle = len(left) // 2
        ended.append(job.attempt(left[middle]))
        if ended[-1][0].after >= pruned.least:
            good, left = ended[-1], left[middle + 1 :]
        else:
            left = left[:middle]
    if good is None:
        ended.append(job.attempt(chosen))
        highest = max(attempt.after for attempt, _ in ended)
        least = highest - drop / 100 - ROUNDING
        near = [entry for entry in ended if entry[0].after >= least]
        good = ended[-1] if ended[-1][0].after >= pruned.least else min(near, key=lambda entry: entry[0].macs)
    restore(student.task_tensors(), good[1], "student")
    result.graph, result.val_accuracy = BlockGraph.of(student), good[0].after
    return result


@dataclass
class _Candidate:
    """A network that may be recovered: the stage's name, what the task owned, its accuracy on the validation split."""

    stage: str
    tensors: dict[str, Tensor]
    val_accuracy: float


def _leaner(pruned: Pruned) -> list[_Candidate]:
    """The networks below the chosen one that are near enough to the drop, the dearest first."""
    price = pruned.graph.price()
    enough = min(pruned.least, pruned.val_accuracy) - NEAR
    found = [
        (trial.price, _Candidate(f"recover-{number}", tensors, trial.val_accuracy))
        for number, (trial, tensors) in enumerate(zip(pruned.trials, pruned.steps, strict=True), 1)
        if trial.price < price and trial.val_accuracy >= enough
    ]
    return [candidate for _, candidate in sorted(found, key=lambda entry: -entry[0])]


@dataclass
class _Job:
    """What every recovery needs, and where it is written down."""

    student: TailoredNet
    teacher: Backbone
    task: Task
    config: RecoverConfig
    settings: StudentConfig | None
    run: Run
    result: Recovered

    def attempt(self, candidate: _Candidate) -> tuple[Attempt, dict[str, Tensor]]:
        """Recover one network; returns what came of it, and its state."""
        student, before = self.student, candidate.val_accuracy
        restore(student.task_tensors(), candidate.tensors, "student")
        macs = BlockGraph.of(student).macs()
        fitted = recover(student, self.teacher, self.task, self.config, self.settings, self.run, candidate.stage)
        after = fitted.metrics["val_accuracy"]
        if after < before:
            said = f"recover    no gain on the validation split ({before:.3f} before); left as it was"
            self.run.display.say(said)
        attempt = Attempt(macs, before, max(before, after))
        self.result.attempts.append(attempt)
        self.result.epochs += self.config.epochs
        return attempt, candidate.tensors if after < before else snapshot(student)
