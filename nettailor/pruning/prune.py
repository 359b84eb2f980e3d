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
from dataclasses import dataclass, field, replace
from functools import partial

from torch import Tensor

from blocks import Path, TailoredNet
from blocks.teachers import Teacher
from nettailor.data.task import Task
from nettailor.pruning.config import PruneConfig
from nettailor.pruning.criterion import ROUNDING
from nettailor.pruning.fade import Fade
from nettailor.pruning.folds import wanted_folds
from nettailor.pruning.graph import BlockGraph, GraphError
from nettailor.pruning.importance import Refits, kind_for, loss_left_with, option_losses, pictures_run
from nettailor.pruning.refit import FITTED_TO_MEASURE, count_to_fit_on, cut_and_refit
from nettailor.pruning.rounds import RECOVERABLE, Rounds, Trial, Whole, recoverable, snapshot
from nettailor.pruning.solver import cheapest, smaller, within_budget
from nettailor.pruning.ways import WAYS, way
from nettailor.training import passes
from nettailor.training.checkpoint import restore
from nettailor.training.config import StudentConfig
from nettailor.training.loop import accuracy
from nettailor.training.rates import students_teacher_keeps_features
from nettailor.training.run import Run
from nettailor.training.stages import fit_student, student_rate

FAR_BELOW = 0.25  # under the teacher: where a front ends, its networks are of no use
UNTRAINED = RECOVERABLE / 2  # below the drop: where a round's network is no lower, fitted anew, none is trained
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


def prune(
    student: TailoredNet,
    teacher: Teacher,
    task: Task,
    config: PruneConfig | None = None,
    settings: StudentConfig | None = None,
    run: Run | None = None,
) -> Pruned:
    """Remove paths from a trained student, in place; its weights are those that go with the chosen graph.

    Args:
        settings: how the student is trained while it is pruned; the complexity term is off.

    Raises:
        GraphError: a budget that no network of these paths meets.
    """
    config, run = config or PruneConfig(), run or Run()
    settings = replace(settings or StudentConfig(), complexity_weight=0.0)
    floor = accuracy(teacher, task.val)
    job = _Job(student, teacher, task, config, settings, run, floor)
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


@dataclass(frozen=True)
class _Job:
    """What every way of pruning needs. `floor` is the teacher's accuracy on the validation split."""

    student: TailoredNet
    teacher: Teacher
    task: Task
    config: PruneConfig
    settings: StudentConfig
    run: Run
    floor: float

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
        return students_teacher_keeps_features(self.rate, self.run.training)

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
            return loss_left_with(self.student, left, self.task, pictures) <= self.config.largest_loss
        before = snapshot(self.student)
        cut_and_refit(self.student, left.paths, self.task, self.run)
        value = accuracy(self.student, self.task.val)
        restore(self.student.task_tensors(), before, "student")
        return self._needs_no_training(value)

    def to_look_ahead(self, pictures: int) -> int:
        """How many pictures that takes: with all paths and with those that would be left, or to fit these and judge."""
        if not self.fits_anew:
            return 2 * min(pictures, len(self.task.val))
        return 2 * count_to_fit_on(self.student, self.task) + len(self.task.val)

    def _needs_no_training(self, value: float) -> bool:
        """Whether a network that is fitted anew is accurate enough to go on from."""
        return value >= self.least - UNTRAINED

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
        return self.config.epochs is None and self._needs_no_training(removal.memory["after_cut"])

    def _removal(self, left: BlockGraph, epochs: int) -> Fade:
        if self.fits_anew:
            return Fade(self.student, left, 0, self.task.val, partial(cut_and_refit, task=self.task, run=self.run))
        wanted = self.config.fade_epochs
        return Fade(self.student, left, epochs / 2 if wanted is None else min(wanted, epochs / 2), self.task.val)


def weakest_blocks(graph: BlockGraph, count: int) -> list[Path]:
    """The `count` universal blocks with the smallest gates, of those that may go."""
    gates = {path: data["gate"] for path, data in graph.edges() if path.is_universal and not graph.stays(path)}
    return sorted(gates, key=lambda path: (gates[path], path))[:count]


def weak_proxies(graph: BlockGraph, below: float) -> list[Path]:
    """The proxies whose gate is below a threshold."""
    return [path for path, data in graph.edges() if not path.is_universal and data["gate"] < below]


@way("paper")
def _paper(job: _Job) -> Pruned:
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
def _rounds(job: _Job) -> Pruned:
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
    always_careful = wanted_folds(config, job.task) > 0 or (job.fits_anew and config.largest_loss == 0)
    state.careful = state.careful or always_careful
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
        reach = recoverable(trial.val_accuracy, len(job.task.val))
        state.record(student, trial, job.least if goal is None else -math.inf, allowed, reach)
        undone = state.misses > 0 and not state.careful and left.price() < config.shrink * SMALLEST_STEP * graph.price()
        if undone:
            state.undo(student, began, start)
        elif goal is None:
            state.over = _is_over(state, trial, config, job.floor)
        state.save(student, job.run, number)
        trained = "" if trial.epochs else ", fitted anew and not trained"
        reached = f"val_accuracy {trial.val_accuracy:.3f} (teacher {job.floor:.3f})"
        figures = f"{left.macs() / 1e6:.2f} M MACs in paths, {reached}{trained}"
        job.run.display.say(
            f"prune      round {number}: without {len(gone)} paths: {figures}{'; undone' if undone else ''}"
        )
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


def _next(job: _Job, state: Rounds, graph: BlockGraph, goal: float | None) -> BlockGraph | None:
    """The next round's network, not cheaper than the goal; None where there is nothing left to do."""
    if goal is not None and graph.price() <= goal:
        return None
    kind = kind_for(job.config.importance, job.student, graph, job.keeps_features)
    count = job.config.pictures_to_measure_on(job.keeps_features)
    options = option_losses(job.student, job.task, kind, count, job.run.display, job.refits)
    bottom = cheapest(graph).price()
    pictures, training = min(count, len(job.task.val)), len(job.task.train)
    looked_at = pictures_run(options, kind, pictures)
    if job.fits_anew and kind == "measured":
        looked_at += count_to_fit_on(job.student, job.task, FITTED_TO_MEASURE)
    state.importance_passes += looked_at / training
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
