"""Choose what a task does not need, remove it, and train what is left.

    paper        proxies with a small gate and the n weakest universal blocks go at once, for several n; each is retrained
                 with g1 = 0, and the leanest within the drop is kept
    tolerance    in rounds, each a little cheaper: look what every layer would lose, choose, remove, train, look
                 again; ends at the leanest network within the drop
    budget       the same rounds, down to a given cost

The drop is counted in points of accuracy against the teacher, on the validation split. Where no student of `tolerance` comes
that near to the teacher, the drop is counted from the most accurate network so far, and where none is within that either, all
blocks are kept and no proxy: what is chosen never costs more than the teacher. `paper` has no such bound.
"""

from __future__ import annotations

import math
from contextlib import suppress
from dataclasses import dataclass, field, replace

from torch import Tensor

from blocks import Path, TailoredNet
from blocks.teachers import Teacher
from nettailor.data.task import Task
from nettailor.pruning.config import PruneConfig
from nettailor.pruning.criterion import ROUNDING
from nettailor.pruning.folds import wanted_folds
from nettailor.pruning.graph import BlockGraph, GraphError
from nettailor.pruning.importance import kind_for, option_losses, pictures_run
from nettailor.pruning.job import Job
from nettailor.pruning.refit import count_to_measure_behind
from nettailor.pruning.rounds import Rounds, Trial, Whole
from nettailor.pruning.solver import Option, cheapest, smaller, within_budget
from nettailor.pruning.states import snapshot
from nettailor.pruning.ways import WAYS, way
from nettailor.training.checkpoint import restore
from nettailor.training.config import StudentConfig
from nettailor.training.loop import accuracy
from nettailor.training.run import Run

FAR_BELOW = 0.25  # under the teacher: where a front ends, its networks are of no use
SMALLEST_STEP = 0.97  # of the price: rounds that save less than 3 % are not worth their training


@dataclass
class Pruned:
    """The chosen network: its graph and accuracy, the least accuracy that is within the drop, and all that was tried.

    `steps` is what the task owned in each of them: points of the accuracy-against-cost curve. `whole` is what is left where
    recovery brings none of them within the drop; None for what is pruned to a cost or as in the paper.
    """

    graph: BlockGraph
    least: float
    val_accuracy: float
    trials: list[Trial] = field(default_factory=list)
    epochs: int = 0
    importance_passes: float = 0.0
    steps: list[dict[str, Tensor]] = field(default_factory=list)
    whole: Whole | None = None

    def then(self, more: Pruned) -> Pruned:
        """With what was tried later; this one's choice stands."""
        return replace(
            self,
            trials=[*self.trials, *more.trials],
            epochs=self.epochs + more.epochs,
            importance_passes=self.importance_passes + more.importance_passes,
            steps=[*self.steps, *more.steps],
        )


def prune(
    student: TailoredNet,
    teacher: Teacher,
    task: Task,
    config: PruneConfig | None = None,
    settings: StudentConfig | None = None,
    run: Run | None = None,
    below: float = math.inf,
) -> Pruned:
    """Remove paths from a trained student, in place; its weights are those that go with the chosen graph.

    Args:
        settings: how the student is trained while it is pruned; the complexity term is off.
        below: a price, in the unit that the student counts in; tolerance: no network that costs as much is looked at.

    Raises:
        GraphError: a budget that no network of these paths meets.
    """
    config, run = config or PruneConfig(), run or Run()
    settings = replace(settings or StudentConfig(), complexity_weight=0.0)
    floor = accuracy(teacher, task.val)
    job = Job(student, teacher, task, config, settings, run, floor, below)
    result: Pruned = WAYS[config.how](job)
    student.keep(result.graph.paths)
    return result


def check_budget(student: TailoredNet, config: PruneConfig) -> None:
    """Refuse a budget before any training for it.

    Raises:
        GraphError: no network of these paths is that cheap; the message gives the cheapest there is, in the budget's unit.
    """
    if config.how != "budget" or config.budget is None:
        return
    model = student.cost_model
    least = cheapest(BlockGraph.of(student)).price()
    if least > model.limit(config.budget):
        wanted = model.in_words(model.limit(config.budget))
        raise GraphError(
            f"prune.budget: no network of these paths costs at most {wanted}; the cheapest network that holds together costs "
            f"{model.in_words(least)}{_because_shared(student)}"
        )


def _because_shared(student: TailoredNet) -> str:
    shared = student.plan.shared_prefix
    return f", because blocks 1 to {shared} stay (student.shared_prefix)" if shared else ""


def weakest_blocks(graph: BlockGraph, count: int) -> list[Path]:
    """The `count` universal blocks with the smallest gates, of those that may go."""
    gates = {path: data["gate"] for path, data in graph.edges() if path.is_universal and not graph.stays(path)}
    return sorted(gates, key=lambda path: (gates[path], path))[:count]


def weak_proxies(graph: BlockGraph, below: float) -> list[Path]:
    """The proxies whose gate is below a threshold."""
    return [path for path, data in graph.edges() if not path.is_universal and data["gate"] < below]


@way("paper")
def _paper(job: Job) -> Pruned:
    student, config, run = job.student, job.config, job.run
    whole, start = BlockGraph.of(student), snapshot(student)
    tried: list[tuple[Trial, BlockGraph, dict[str, Tensor]]] = []
    for place, count in enumerate((*config.remove, 0)):
        if place == len(config.remove) and tried:
            break  # the whole chain of blocks is only tried where no network that was asked for holds together
        restore(student.task_tensors(), start, "student")
        chosen = weak_proxies(whole, config.proxies_below) + weakest_blocks(whole, count)
        try:
            graph = whole.without(chosen)
        except GraphError:
            run.display.say(f"prune      without {count} blocks nothing reaches the output; not tried")
            continue
        trial = job.without(f"prune-{count}", graph, chosen)
        tried.append((trial, graph, snapshot(student)))
    within = [entry for entry in tried if entry[0].val_accuracy >= job.least]
    if within:
        best = min(within, key=lambda entry: entry[0].price)
    else:
        best = max(tried, key=lambda entry: (entry[0].val_accuracy, -entry[0].price))
    restore(student.task_tensors(), best[2], "student")
    trials = [entry[0] for entry in tried]
    steps = [tensors for _, _, tensors in tried]
    return Pruned(best[1], job.least, best[0].val_accuracy, trials, sum(trial.epochs for trial in trials), steps=steps)


@way("tolerance", "budget")
def _rounds(job: Job) -> Pruned:
    """Rounds, each towards `shrink` of the last one's price; what falls below may well come back.

    A round of several steps at once that falls below what recovery brings back is undone, and from there on each round is of
    one step; no other is undone. Where folds will judge, each is of one step from the start: what few validation pictures
    don't show to be too lean may be, and then there is something between it and all blocks. They end where `patience` is at
    an end, where the budget is met, or, for a front, where accuracy is far below.
    """
    student, config = job.student, job.config
    goal = student.cost_model.limit(config.budget) if config.how == "budget" and config.budget is not None else None
    allowed = config.drop / 100 + ROUNDING
    whole = Whole.of(student, job.task)
    state, start = Rounds.resume(student, job.task, job.run, whole)
    folds = wanted_folds(config, job.task) > 0
    state.careful = state.careful or folds or (job.fits_anew and config.largest_loss == 0)
    while not state.over:
        graph = BlockGraph.of(student)
        left = _next(job, state, graph, goal)
        if left is None:
            break
        if state.was_undone(left):  # the network that a short step leaves is the one that the long step left
            state.redo(student)
            state.over = _is_over(state, state.trials[-1], config, job.floor)
            continue
        gone = [path for path in graph.paths if path not in set(left.paths)]
        number, began = len(state.trials) + 1, state.at
        trial = job.without(f"prune-{number}", left, gone)
        reach = job.reach(trial.val_accuracy)
        state.record(student, trial, job.least if goal is None else -math.inf, allowed, reach)
        undone = state.misses > 0 and not state.careful and left.price() < config.shrink * SMALLEST_STEP * graph.price()
        if undone:
            state.undo(student, began, start)
        elif goal is None:
            state.over = _is_over(state, trial, config, job.floor)
        state.save(student, job.run, number)
        job.say(f"round {number}", trial, "; undone" if undone else "")
    restore(student.task_tensors(), state.best, "student")
    epochs = sum(trial.epochs for trial in state.trials)
    return Pruned(
        BlockGraph.of(student),
        job.least,
        state.best_value,
        state.trials,
        epochs,
        state.importance_passes,
        state.steps,
        whole=whole if goal is None else None,
    )


def _is_over(state: Rounds, trial: Trial, config: PruneConfig, floor: float) -> bool:
    return trial.val_accuracy < floor - FAR_BELOW if config.front else state.misses > config.patience


def _parts(shrink: float, careful: bool) -> list[float]:
    """Parts of the price that a round may leave, the smallest first: `shrink` several times at once, once, and half of it.

    Args:
        careful: not several times at once.
    """
    parts = [shrink] if careful else [shrink**times for times in (4, 3, 2, 1)]
    while (1 + parts[-1]) / 2 < SMALLEST_STEP:
        parts.append((1 + parts[-1]) / 2)
    return parts


def _losses(job: Job, state: Rounds, graph: BlockGraph) -> list[Option]:
    """What every option loses for the student as it is, this graph; what is looked at is counted."""
    kind = kind_for(job.config.importance, job.student, graph, job.keeps_features)
    count = job.config.pictures_to_measure_on(job.keeps_features)
    options = option_losses(job.student, job.task, kind, count, job.run.display, job.refits)
    looked_at = pictures_run(options, kind, min(count, len(job.task.val)))
    if job.fits_anew and kind == "measured":
        looked_at += count_to_measure_behind(job.student, job.task)
    state.importance_passes += looked_at / len(job.task.train)
    return options


def _next(job: Job, state: Rounds, graph: BlockGraph, goal: float | None) -> BlockGraph | None:
    """The next round's network, not cheaper than the goal; None where there is nothing left to do."""
    if goal is not None and graph.price() <= goal:
        return None
    options, bottom = _losses(job, state, graph), cheapest(graph).price()
    count, training = job.config.pictures_to_measure_on(job.keeps_features), len(job.task.train)
    if job.below <= graph.price():
        fixed = graph.fixed_price()
        with suppress(GraphError):
            return smaller(
                graph, options, job.config.shrink * (job.below - fixed) / (graph.price() - fixed), 0.0, bottom
            )
        return None
    for part in _parts(job.config.shrink, state.careful):
        try:
            left = smaller(graph, options, part, goal or 0.0, bottom)
        except GraphError:
            continue
        if part >= job.config.shrink:
            return left
        state.importance_passes += job.to_look_ahead(count) / training
        if job.may_go_at_once(left, count):
            return left
    if goal is not None:
        return within_budget(graph, options, goal)  # a last small step, or the reason why there is none
    return None  # what is left can't get cheaper and hold together
