"""Choose what a task does not need, remove it, and train what is left (DESIGN section 4).

    paper        proxies with a small gate and the n weakest universal blocks go at once, for several n; each is retrained
                 with g1 = 0, and the leanest within the drop is kept
    tolerance    in rounds: measure what each path's removal costs, fade the cheapest out while training, look again; the
                 leanest network that was within the drop is kept; where no student comes that near to the teacher, the
                 drop is counted from the most accurate one so far

The drop is counted in points of accuracy against the teacher, on the validation split; `tolerance` rounds it up to whole
pictures, because a small split shows no finer difference.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from blocks import Backbone, Path, TailoredNet
from nettailor.batches import normalise
from nettailor.checkpoint import restore
from nettailor.fit import Run, accuracy
from nettailor.graph import BlockGraph, GraphProblem
from nettailor.recipe import PruneChoice, StudentChoice
from nettailor.task import Task
from nettailor.training import fit_student

ROUNDING = 1e-9  # accuracies are quotients; a difference of just the allowed drop must not fail by its last bit

NEGLIGIBLE = 1e-6  # of the whole price: what saves less counts as saving this


@dataclass
class Trial:
    """One network that was tried: its paths, their MACs and price, its accuracy on the validation split."""

    paths: list[str]
    macs: int
    price: float
    val_accuracy: float
    removed: list[str]


@dataclass
class Pruned:
    """The choice: its graph and accuracy, the least accuracy that is within the drop, and all that was tried on the way."""

    graph: BlockGraph
    least: float
    val_accuracy: float
    trials: list[Trial] = field(default_factory=list)
    seconds: float = 0.0


def prune(
    student: TailoredNet,
    teacher: Backbone,
    task: Task,
    choice: PruneChoice | None = None,
    settings: StudentChoice | None = None,
    run: Run | None = None,
) -> Pruned:
    """Remove paths from a trained student, in place; its weights are those that go with the chosen graph.

    Args:
        settings: how the student is trained while it is pruned; the complexity term is off.
    """
    choice, run = choice or PruneChoice(), run or Run()
    settings = replace(settings or StudentChoice(), complexity_weight=0.0)
    floor = accuracy(teacher, task.val)
    how = {"paper": _paper, "tolerance": _tolerance}[choice.how]
    result = how(student, teacher, task, choice, settings, run, floor)
    student.keep(result.graph.paths)
    return result


def weakest_blocks(graph: BlockGraph, count: int) -> list[Path]:
    """The `count` universal blocks with the smallest gates."""
    gates = {path: data["gate"] for path, data in graph.edges() if path.is_universal}
    return sorted(gates, key=lambda path: (gates[path], path))[:count]


def weak_proxies(graph: BlockGraph, below: float) -> list[Path]:
    """The proxies whose gate is below a threshold."""
    return [path for path, data in graph.edges() if not path.is_universal and data["gate"] < below]


@torch.no_grad()
def removal_costs(student: TailoredNet, task: Task, graphs: dict[Path, BlockGraph], pictures: int) -> dict[Path, float]:
    """What the step to each of several graphs adds to the validation loss, nothing trained.

    Layers before the first one that a graph changes are computed once for all graphs.

    Args:
        graphs: sub-graphs of the student's live paths, by what was removed.
        pictures: how many validation pictures to measure on, at most; always the same ones.
    """
    before, live = student.gates.fade.clone(), set(student.live_paths())
    changed = {key: min(path.target for path in live.difference(graph.paths)) for key, graph in graphs.items()}
    rows = torch.randperm(len(task.val), generator=torch.Generator().manual_seed(0))[:pictures]
    x = normalise(task.val.batch(rows), student.spec, before.device)
    labels = task.val.labels[rows].to(before.device)
    whole = student.eval().run(x)
    base = float(cross_entropy(whole.logits, labels))
    costs = {}
    for key, graph in graphs.items():
        student.keep(graph.paths)
        activity = student.run(x, whole.activations[: changed[key]])
        costs[key] = float(cross_entropy(activity.logits, labels)) - base
    student.gates.fade.copy_(before)
    return costs


def removable(graph: BlockGraph, paths: list[Path]) -> dict[Path, BlockGraph]:
    """What each path's removal leaves; paths without which nothing reaches the output are left out."""
    left = {}
    for path in paths:
        try:
            left[path] = graph.without([path])
        except GraphProblem:
            continue
    return left


def snapshot(student: TailoredNet) -> dict[str, Tensor]:
    """A copy of all that the task owns, fades included."""
    return {name: tensor.detach().clone() for name, tensor in student.task_tensors().items()}


def _paper(
    student: TailoredNet,
    teacher: Backbone,
    task: Task,
    choice: PruneChoice,
    settings: StudentChoice,
    run: Run,
    floor: float,
) -> Pruned:
    whole, start = BlockGraph.of(student), snapshot(student)
    tried: list[tuple[Trial, BlockGraph, dict[str, Tensor]]] = []
    seconds = 0.0
    for count in (*choice.remove, 0):
        if count == 0 and tried:
            break  # the whole chain of blocks is only the way out where no smaller network holds together
        restore(student.task_tensors(), start, "student")
        chosen = weak_proxies(whole, choice.proxies_below) + weakest_blocks(whole, count)
        try:
            graph = whole.without(chosen)
        except GraphProblem:
            run.display.say(f"prune      without {count} blocks nothing reaches the output; not tried")
            continue
        student.keep(graph.paths)
        fitted = fit_student(f"prune-{count}", student, teacher, task, settings, choice.epochs, choice.lr, run)
        seconds += fitted.seconds
        tried.append((_trial(graph, fitted.judged["val_accuracy"], chosen), graph, snapshot(student)))
    least = floor - choice.drop / 100 - ROUNDING
    within = [entry for entry in tried if entry[0].val_accuracy >= least]
    if within:
        best = min(within, key=lambda entry: entry[0].price)
    else:
        best = max(tried, key=lambda entry: (entry[0].val_accuracy, -entry[0].price))
    restore(student.task_tensors(), best[2], "student")
    return Pruned(best[1], least, best[0].val_accuracy, [entry[0] for entry in tried], seconds)


def _tolerance(
    student: TailoredNet,
    teacher: Backbone,
    task: Task,
    choice: PruneChoice,
    settings: StudentChoice,
    run: Run,
    floor: float,
) -> Pruned:
    allowed = math.ceil(choice.drop / 100 * len(task.val)) / len(task.val)  # whole pictures: the split shows no less
    least = floor - allowed - ROUNDING
    state = _Rounds.resume(student, task, run)
    while not state.over:
        number = len(state.trials) + 1
        graph = BlockGraph.of(student)
        together = choice.per_round if not state.misses else 1
        chosen = _cheapest(student, task, graph, choice, together, state.barred)
        if not chosen:
            break
        left = graph.without(chosen)
        gone = [path for path in graph.paths if path not in set(left.paths)]
        fitted = fit_student(
            f"prune-{number}", student, teacher, task, settings, choice.epochs, choice.lr, run,
            before_step=partial(fade, student, gone, choice.fade_epochs),
        )  # fmt: skip
        student.keep(left.paths)
        value = accuracy(student, task.val)
        state.trials.append(_trial(left, value, chosen))
        state.seconds += fitted.seconds
        state.peak = max(state.peak, value)
        bar = least if state.peak >= least else state.peak - allowed - ROUNDING
        if value >= bar:
            state.best, state.best_value, state.misses = snapshot(student), value, 0
        else:
            restore(student.task_tensors(), state.best, "student")
            state.misses += 1
            if together == 1:
                state.barred.update(path.key for path in chosen if path.is_universal)
        state.over = state.misses > choice.patience
        state.save(student, run, number)
        without = ", ".join(path.key for path in chosen)
        figures = f"{left.macs() / 1e6:.2f} M MACs in paths, val_accuracy {value:.3f} (teacher {floor:.3f})"
        run.display.say(f"prune      round {number}: without {without}: {figures}")
    restore(student.task_tensors(), state.best, "student")
    return Pruned(BlockGraph.of(student), least, state.best_value, state.trials, state.seconds)


def fade(student: TailoredNet, gone: list[Path], fade_epochs: float, epoch: float) -> None:
    """Set the fade of paths that are on their way out, `epoch` epochs after it began."""
    left = 0.0 if epoch >= fade_epochs else 1 - epoch / fade_epochs
    for path in gone:
        student.gates.fade[path.place] = left


def _cheapest(
    student: TailoredNet, task: Task, graph: BlockGraph, choice: PruneChoice, together: int, barred: set[str]
) -> list[Path]:
    """This round's removals: the blocks that lose least for what is saved with them, and proxies that lose less still.

    A proxy goes only where no block would go with it, and only where it costs something itself. Blocks that are `barred`
    went in a round that failed; they stay.
    """
    left = removable(graph, graph.paths)
    costs = removal_costs(student, task, left, choice.measured_on)
    whole, blocks = graph.price(), set(graph.universal())
    least = whole * NEGLIGIBLE
    price = {path: costs[path] / max(least, whole - left[path].price()) for path in left}
    by_price = sorted(left, key=lambda path: (price[path], path))
    chosen = _first(graph, [path for path in by_price if path in blocks and path.key not in barred], together)
    if not chosen:
        return []
    graph = graph.without(chosen)
    still = {path for path in graph.proxies() if student.prices[path]}
    dearest = max(price[path] for path in chosen)
    proxies = [path for path in by_price if path in still and price[path] <= dearest]
    kept = set(graph.universal())
    for path in proxies:
        if len(chosen) == together + choice.proxies_per_round:
            break
        try:
            without = graph.without([path])
        except GraphProblem:
            continue
        if kept <= set(without.paths):
            graph = without
            chosen.append(path)
    return chosen


def _first(graph: BlockGraph, paths: list[Path], count: int) -> list[Path]:
    """The first `count` of `paths` that can go together."""
    chosen: list[Path] = []
    for path in paths:
        try:
            graph = graph.without([path])
        except GraphProblem:
            continue
        chosen.append(path)
        if len(chosen) == count:
            break
    return chosen


def _trial(graph: BlockGraph, value: float, removed: list[Path]) -> Trial:
    return Trial([path.key for path in graph.paths], graph.macs(), graph.price(), value, [path.key for path in removed])


@dataclass
class _Rounds:
    """Where a gradual pruning stands; saved after every round."""

    best: dict[str, Tensor]
    best_value: float
    peak: float
    trials: list[Trial] = field(default_factory=list)
    seconds: float = 0.0
    misses: int = 0
    barred: set[str] = field(default_factory=set)
    over: bool = False

    @classmethod
    def resume(cls, student: TailoredNet, task: Task, run: Run) -> _Rounds:
        """The state at the last finished round, also put into the student; a fresh state if there is none."""
        kept = run.checkpoints.load("prune")
        if kept is None:
            value = accuracy(student, task.val)
            return cls(snapshot(student), value, value)
        tensors, notes = kept
        now = {name[4:]: tensor for name, tensor in tensors.items() if name.startswith("now.")}
        best = {name[5:]: tensor for name, tensor in tensors.items() if name.startswith("best.")}
        restore(student.task_tensors(), now, "checkpoint of prune")
        device = student.gates.fade.device
        best = {name: tensor.to(device) for name, tensor in best.items()}
        trials = [Trial(**trial) for trial in notes["trials"]]
        barred = set(notes["barred"])
        values = notes["best_value"], notes["peak"]
        return cls(best, *values, trials, notes["seconds"], notes["misses"], barred, notes["over"])

    def save(self, student: TailoredNet, run: Run, number: int) -> None:
        """Save, then drop the checkpoint of the round that is now behind us."""
        tensors = {f"now.{name}": tensor for name, tensor in snapshot(student).items()}
        tensors |= {f"best.{name}": tensor for name, tensor in self.best.items()}
        notes: dict[str, Any] = {
            "best_value": self.best_value,
            "peak": self.peak,
            "trials": [vars(trial) for trial in self.trials],
            "seconds": self.seconds,
            "misses": self.misses,
            "barred": sorted(self.barred),
            "over": self.over,
        }
        run.checkpoints.save("prune", tensors, notes)
        run.checkpoints.drop(f"prune-{number}")
