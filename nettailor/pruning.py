"""Choose what a task does not need, remove it, and train what is left (DESIGN section 4).

    paper        proxies with a small gate and the n weakest universal blocks go at once, for several n; each is retrained
                 with g1 = 0, and the leanest within the drop is kept
    tolerance    in rounds: measure what each block's removal costs, fade the cheapest out while training, look again; the
                 leanest network that stayed within the drop is kept

The drop is counted in points of accuracy against the teacher, on the validation split.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from blocks import Backbone, Path, TailoredNet
from nettailor.batches import evaluation_batches
from nettailor.checkpoint import restore
from nettailor.fit import Run, accuracy
from nettailor.graph import BlockGraph, GraphProblem
from nettailor.recipe import PruneChoice, StudentChoice
from nettailor.task import Task
from nettailor.training import fit_student


@dataclass
class Trial:
    """One network that was tried: its paths, its MACs in blocks and proxies, its accuracy on the validation split."""

    paths: list[str]
    macs: int
    val_accuracy: float
    removed: list[str]


@dataclass
class Pruned:
    """The choice: its graph, whether it is within the drop, and all that was tried on the way."""

    graph: BlockGraph
    within_drop: bool
    teacher_val_accuracy: float
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
    floor = accuracy(teacher, task.val, student.spec, run.device)
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
def measured_losses(student: TailoredNet, task: Task, graphs: dict[Path, BlockGraph], run: Run) -> dict[Path, float]:
    """Validation loss of the student under each of several graphs, nothing trained; its own fades are put back."""
    before = student.gates.fade.clone()
    student.eval()
    losses = {}
    for key, graph in graphs.items():
        student.keep(graph.paths)
        total = 0.0
        for x, labels in evaluation_batches(task.val, student.spec, run.device):
            total += float(cross_entropy(student(x), labels, reduction="sum"))
        losses[key] = total / len(task.val)
    student.gates.fade.copy_(before)
    return losses


def removable(graph: BlockGraph, paths: list[Path]) -> dict[Path, BlockGraph]:
    """What each path's removal leaves; paths without which nothing reaches the output are left out."""
    left = {}
    for path in paths:
        try:
            left[path] = graph.without([path])
        except GraphProblem:
            continue
    return left


def spare_proxies(graph: BlockGraph, below: float) -> BlockGraph:
    """Remove weak proxies, weakest first, except where another path would go with them."""
    gates = {path: data["gate"] for path, data in graph.edges()}
    for path in sorted(weak_proxies(graph, below), key=lambda path: (gates[path], path)):
        alone = graph.exclude_self([path])
        if alone.exclude_unreached().exclude_dead_ends().paths == alone.paths:
            graph = alone
    return graph


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
    for count in choice.remove:
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
    if not tried:
        raise GraphProblem(
            f"prune.remove: no way is left through the student for any of {list(choice.remove)}; try smaller numbers"
        )
    fit_enough = [entry for entry in tried if entry[0].val_accuracy >= floor - choice.drop / 100]
    best = min(fit_enough, key=lambda e: e[0].macs) if fit_enough else max(tried, key=lambda e: e[0].val_accuracy)
    restore(student.task_tensors(), best[2], "student")
    return Pruned(best[1], bool(fit_enough), floor, best[0].val_accuracy, [entry[0] for entry in tried], seconds)


def _tolerance(
    student: TailoredNet,
    teacher: Backbone,
    task: Task,
    choice: PruneChoice,
    settings: StudentChoice,
    run: Run,
    floor: float,
) -> Pruned:
    state = _Rounds.resume(student, task, run)
    while not state.over:
        number = len(state.trials) + 1
        graph = BlockGraph.of(student)
        chosen = _cheapest_blocks(student, task, graph, choice.per_round, run)
        if not chosen:
            break
        left = graph.without(chosen)
        gone = [path for path in graph.paths if path not in set(left.paths)]
        fitted = fit_student(
            f"prune-{number}", student, teacher, task, settings, choice.epochs, choice.lr, run,
            before_step=partial(fade, student, gone, choice.fade_epochs),
        )  # fmt: skip
        student.keep(left.paths)
        value = accuracy(student, task.val, student.spec, run.device)
        state.trials.append(_trial(left, value, chosen))
        state.seconds += fitted.seconds
        if value >= floor - choice.drop / 100:
            state.best, state.best_value, state.misses = snapshot(student), value, 0
        else:
            state.misses += 1
        state.over = state.misses > choice.patience
        state.save(student, run, number)
        run.display.say(f"prune      round {number}: without {', '.join(p.key for p in chosen)}: "
                        f"{left.macs() / 1e6:.2f} M MACs in paths, val_accuracy {value:.3f} (teacher {floor:.3f})")  # fmt: skip
    restore(student.task_tensors(), state.best, "student")
    graph = spare_proxies(BlockGraph.of(student), choice.proxies_below)
    within = state.best_value >= floor - choice.drop / 100
    return Pruned(graph, within, floor, state.best_value, state.trials, state.seconds)


def fade(student: TailoredNet, gone: list[Path], fade_epochs: float, epoch: float) -> None:
    """Set the fade of paths that are on their way out, `epoch` epochs after it began."""
    left = 0.0 if epoch >= fade_epochs else 1 - epoch / fade_epochs
    for path in gone:
        student.gates.fade[path.place] = left


def _cheapest_blocks(student: TailoredNet, task: Task, graph: BlockGraph, count: int, run: Run) -> list[Path]:
    """The universal blocks whose removal costs least validation loss for each MAC that goes with them."""
    left = removable(graph, graph.universal())
    if not left:
        return []
    whole = graph.macs()
    (now,) = measured_losses(student, task, {graph.paths[0]: graph}, run).values()
    losses = measured_losses(student, task, left, run)
    price = {path: (losses[path] - now) / (whole - left[path].macs()) for path in left}
    chosen: list[Path] = []
    for path in sorted(price, key=lambda path: (price[path], path)):
        try:
            graph = graph.without([path])
        except GraphProblem:
            continue
        chosen.append(path)
        if len(chosen) == count:
            break
    return chosen


def _trial(graph: BlockGraph, value: float, removed: list[Path]) -> Trial:
    return Trial([path.key for path in graph.paths], graph.macs(), value, [path.key for path in removed])


@dataclass
class _Rounds:
    """Where a gradual pruning stands; saved after every round."""

    best: dict[str, Tensor]
    best_value: float
    trials: list[Trial] = field(default_factory=list)
    seconds: float = 0.0
    misses: int = 0
    over: bool = False

    @classmethod
    def resume(cls, student: TailoredNet, task: Task, run: Run) -> _Rounds:
        """The state at the last finished round, also put into the student; a fresh state if there is none."""
        kept = run.checkpoints.load("prune")
        if kept is None:
            return cls(snapshot(student), accuracy(student, task.val, student.spec, run.device))
        tensors, notes = kept
        now = {name[4:]: tensor for name, tensor in tensors.items() if name.startswith("now.")}
        best = {name[5:]: tensor for name, tensor in tensors.items() if name.startswith("best.")}
        restore(student.task_tensors(), now, "checkpoint of prune")
        device = student.gates.fade.device
        best = {name: tensor.to(device) for name, tensor in best.items()}
        trials = [Trial(**trial) for trial in notes["trials"]]
        return cls(best, notes["best_value"], trials, notes["seconds"], notes["misses"], notes["over"])

    def save(self, student: TailoredNet, run: Run, number: int) -> None:
        """Save, then drop the checkpoint of the round that is now behind us."""
        tensors = {f"now.{name}": tensor for name, tensor in snapshot(student).items()}
        tensors |= {f"best.{name}": tensor for name, tensor in self.best.items()}
        notes: dict[str, Any] = {
            "best_value": self.best_value,
            "trials": [vars(trial) for trial in self.trials],
            "seconds": self.seconds,
            "misses": self.misses,
            "over": self.over,
        }
        run.checkpoints.save("prune", tensors, notes)
        run.checkpoints.drop(f"prune-{number}")
