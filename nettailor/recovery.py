"""After pruning: the leanest network that is within the drop once what is left of it has been trained (DESIGN section 4).

Pruned.trials, steps -> the chosen network, and some leaner ones that are a little below -> recover each -> Recovered
"""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Tensor

from blocks import Backbone, TailoredNet
from nettailor.checkpoint import restore
from nettailor.fit import Run
from nettailor.graph import BlockGraph
from nettailor.pruning import ROUNDING, Pruned, snapshot
from nettailor.recipe import RecoverChoice, StudentChoice
from nettailor.task import Task
from nettailor.training import recover

NEAR = 0.02  # of accuracy below the drop: recovery has never brought a network further than that


@dataclass
class Attempt:
    """One network's recovery: the MACs of its paths, and its accuracy on the validation split before and after."""

    macs: int
    before: float
    after: float


@dataclass
class Recovered:
    """What recovery ended with, and all that was tried, the leanest first."""

    graph: BlockGraph
    val_accuracy: float
    attempts: list[Attempt] = field(default_factory=list)
    seconds: float = 0.0
    epochs: int = 0


def recover_leanest(
    student: TailoredNet,
    teacher: Backbone,
    task: Task,
    pruned: Pruned,
    choice: RecoverChoice,
    drop: float,
    settings: StudentChoice | None = None,
    run: Run | None = None,
) -> Recovered:
    """Recover a pruned student in place: the leanest that is within the drop afterwards, of what pruning chose and of up to
    `choice.leaner` networks below it.

    Where none is, the leanest within the drop of the most accurate. A network that recovery does not help stays as it was.

    Args:
        drop: in points.
    """
    run = run or Run()
    result = Recovered(pruned.graph, pruned.val_accuracy)
    if not choice.epochs:
        return result
    ended: list[tuple[Attempt, dict[str, Tensor]]] = []
    for stage, tensors, before in _candidates(pruned, choice.leaner, snapshot(student)):
        restore(student.task_tensors(), tensors, "student")
        graph = BlockGraph.of(student)
        fitted = recover(student, teacher, task, choice, settings, run, stage)
        after = fitted.judged["val_accuracy"]
        if after < before:
            run.display.say(f"recover    no gain on the validation split ({before:.3f} before); left as it was")
        attempt = Attempt(graph.macs(), before, max(before, after))
        ended.append((attempt, tensors if after < before else snapshot(student)))
        result.attempts.append(attempt)
        result.seconds += fitted.seconds
        result.epochs += choice.epochs
        if attempt.after >= pruned.least:
            break
    highest = max(attempt.after for attempt, _ in ended)
    least = pruned.least if highest >= pruned.least else highest - drop / 100 - ROUNDING
    best, tensors = next(entry for entry in ended if entry[0].after >= least)
    restore(student.task_tensors(), tensors, "student")
    result.graph, result.val_accuracy = BlockGraph.of(student), best.after
    return result


def _candidates(pruned: Pruned, count: int, chosen: dict[str, Tensor]) -> list[tuple[str, dict[str, Tensor], float]]:
    """Stage, state and accuracy of what is worth a recovery, the leanest first and what pruning chose last."""
    price = pruned.graph.price()
    enough = min(pruned.least, pruned.val_accuracy) - NEAR
    leaner = [
        (f"recover-{number}", tensors, trial.val_accuracy)
        for number, (trial, tensors) in enumerate(zip(pruned.trials, pruned.steps, strict=True), 1)
        if trial.price < price and trial.val_accuracy >= enough
    ]
    leaner.reverse()  # rounds go down
    return [*leaner[:count], ("recover", chosen, pruned.val_accuracy)]
