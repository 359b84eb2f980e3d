"""What a finished network is worth: accuracy on the test split, read once, and costs by the one ruler."""

from __future__ import annotations

from blocks import Backbone, CompactNet, TailoredNet, compact
from blocks.complexity import is_approximate
from blocks.counting import count_params, tensors_of
from blocks.latency import latencies
from nettailor.artifacts import delta
from nettailor.artifacts.pareto import FrontPoint
from nettailor.artifacts.report import (
    BackboneFigures,
    CompactFigures,
    DataFigures,
    PruneFigures,
    RemovedFigures,
    Report,
    StudentFigures,
    TeacherFigures,
)
from nettailor.artifacts.run_folder import RunFolder
from nettailor.backbones.load import fingerprint
from nettailor.data.task import Task
from nettailor.environment import device_name
from nettailor.jobs.context import Context
from nettailor.jobs.recipe import Recipe
from nettailor.methods.nettailor import _Trained
from nettailor.pruning.graph import BlockGraph
from nettailor.pruning.prune import Pruned, snapshot
from nettailor.training.checkpoint import restore
from nettailor.training.loop import accuracy


def backbone_figures(backbone: Backbone) -> BackboneFigures:
    """A backbone's name, hash and size."""
    cost = backbone.cost
    return BackboneFigures(backbone.name, fingerprint(backbone), cost.macs, cost.params, backbone.depth)


def data_figures(task: Task, data_hash: str) -> DataFigures:
    """Sizes of a task's splits."""
    return DataFigures(len(task.train), len(task.val), len(task.test), len(task.classes), task.size, data_hash)


def measure(recipe: Recipe, job: Context, trained: _Trained, net: CompactNet, folder: RunFolder) -> Report:
    """Read the test split, once for each of teacher, student and compact net, and count everything."""
    backbone, task, device = job.backbone, job.task, job.run.device
    teacher, student, pruned = trained.teacher, trained.student, trained.pruned
    graph = BlockGraph.of(net)
    cost, whole = net.cost(), backbone.cost
    teacher_cost = teacher.network_cost()
    tested = {"teacher": accuracy(teacher, task.test)}
    tested["compact"] = accuracy(net, task.test)
    compact_val = accuracy(net, task.val)
    teacher_time, compact_time = latencies([teacher, net], backbone.spec.size, device)
    restore(student.task_tensors(), trained.unpruned, "student")
    tested["student"] = accuracy(student, task.test)
    kept = len(graph.universal())
    return Report(
        task=task.name,
        method="nettailor",
        backbone=backbone_figures(backbone),
        data=data_figures(task, job.data_hash),
        seed=recipe.seed,
        teacher=TeacherFigures(
            tested["teacher"],
            trained.stages["teacher"].judged["val_accuracy"],
            teacher_cost.macs,
            teacher_cost.params,
            teacher_time.ms,
            teacher_time.packed_ms,
        ),
        student=StudentFigures(
            tested["student"],
            trained.stages["student"].judged["val_accuracy"],
            trained.expected,
            is_approximate(recipe.student.complexity, recipe.student.skips),
            teacher_cost.macs + sum(student.costs[path].macs for path in student.paths if not path.is_universal),
            count_params(tensor for name, tensor in tensors_of(student).items() if not name.startswith("gates.")),
            count_params(tensor for name, tensor in student.task_tensors().items() if not name.startswith("gates.")),
        ),
        compact=CompactFigures(
            test_accuracy=tested["compact"],
            val_accuracy=compact_val,
            macs=cost.macs,
            params=cost.params,
            task_params=sum(tensor.numel() for tensor in net.task_tensors().values()),
            task_bytes=delta.task_bytes(folder.delta),
            latency_ms=compact_time.ms,
            latency_packed_ms=compact_time.packed_ms,
            universal_blocks_kept=kept,
            proxies_kept=len(graph.proxies()),
        ),
        removed=RemovedFigures(1 - cost.macs / whole.macs, 1 - cost.params / whole.params, 1 - kept / backbone.depth),
        prune=PruneFigures(
            recipe.prune.how,
            recipe.prune.drop,
            compact_val >= pruned.least,
            [vars(trial) for trial in pruned.trials],
            recipe.cost,
            [vars(attempt) for attempt in trained.recovered.attempts],
        ),
        epochs={
            "teacher": recipe.teacher.epochs,
            "student": recipe.student.epochs,
            "prune": pruned.epochs,
            "recover": trained.recovered.epochs,
        },
        seconds={
            "teacher": trained.stages["teacher"].seconds,
            "student": trained.stages["student"].seconds,
            "prune": pruned.seconds,
            "recover": trained.recovered.seconds,
        },
        device=device_name(device),
    )


def measure_front(student: TailoredNet, pruned: Pruned, task: Task) -> list[FrontPoint]:
    """Count every network that pruning passed, and read the test split once for each; the student is left as it was."""
    before = snapshot(student)
    points = []
    for tensors in pruned.steps:
        restore(student.task_tensors(), tensors, "student")
        points.append(_point(student, task))
    restore(student.task_tensors(), before, "student")
    return points


def _point(student: TailoredNet, task: Task) -> FrontPoint:
    net = compact(student)
    cost = net.cost()
    blocks = sum(path.is_universal for path in net.paths)
    return FrontPoint(
        macs=cost.macs,
        params=cost.params,
        task_params=sum(tensor.numel() for tensor in net.task_tensors().values()),
        universal_blocks=blocks,
        proxies=len(net.paths) - blocks,
        val_accuracy=accuracy(student, task.val),
        test_accuracy=accuracy(student, task.test),
    )
