"""What a trained network is worth: accuracy on the test split, read once, and costs, counted alike for every method.

Context, Trained -> measure -> Report, Predictions
"""

from __future__ import annotations

from blocks import Backbone, CompactNet, compact
from blocks.counting import count_params, tensors_of
from blocks.latency import Latency, latencies
from nettailor.artifacts import delta
from nettailor.artifacts.confusion import balanced_accuracy
from nettailor.artifacts.predictions import Predictions, SplitPredictions
from nettailor.artifacts.report import (
    BackboneFigures,
    CompactFigures,
    DataFigures,
    RemovedFigures,
    Report,
    TeacherFigures,
)
from nettailor.backbones.hashes import tensors_sha256
from nettailor.data.task import Split, Task
from nettailor.environment import device_name
from nettailor.methods._protocol import Context, Taught, Trained
from nettailor.pruning.graph import BlockGraph
from nettailor.training.loop import predictions


def measure(context: Context, trained: Trained) -> tuple[Report, Predictions]:
    """Read the test split, once for each network that the report is about, and count everything."""
    backbone, task, recipe = context.backbone, context.task, context.recipe
    net, whole, graph = trained.net, backbone.cost, BlockGraph.of(trained.net)
    cost, kept = net.cost(), len(graph.universal())
    taught = trained.teacher
    teacher = None if taught is None else compact(taught.net, backbone)
    times = latencies([n for n in (teacher, net) if n is not None], backbone.spec.size, context.run.device)
    said = Predictions(task.name, task.classes, val=_said(task.val, net, teacher), test=_said(task.test, net, teacher))
    figures = CompactFigures(
        test_accuracy=_mean(said.test.right()),
        val_accuracy=_mean(said.val.right()),
        macs=cost.macs,
        params=cost.params,
        task_params=sum(tensor.numel() for tensor in net.task_tensors().values()),
        task_bytes=delta.task_bytes(context.folder.delta),
        latency_ms=times[-1].ms,
        latency_packed_ms=times[-1].packed_ms,
        universal_blocks_kept=kept,
        proxies_kept=len(graph.proxies()),
        balanced_accuracy=balanced_accuracy(said.test.labels, said.test.compact),
        private_params=count_params(tensors_of(net.for_inference()).values()),
        shared_params=net.shared_params(),
    )
    report = Report(
        task=task.name,
        method=recipe.method.name,
        backbone=backbone_figures(backbone),
        data=data_figures(task, context.data_hash),
        seed=recipe.seed,
        teacher=_teacher_figures(context, taught, teacher, said.test, times[0]) if taught and teacher else None,
        student=None if trained.student is None else trained.student(),
        compact=figures,
        removed=RemovedFigures(1 - cost.macs / whole.macs, 1 - cost.params / whole.params, 1 - kept / backbone.depth),
        prune=trained.prune,
        seconds={},
        epochs=trained.epochs,
        device=device_name(context.run.device),
        source=None if trained.beside is None else trained.beside.source,
        probe=None if trained.beside is None else trained.beside.probe,
        grown=trained.grown,
    )
    return report, said


def backbone_figures(backbone: Backbone) -> BackboneFigures:
    """A backbone's name, hash and size."""
    cost = backbone.cost
    return BackboneFigures(backbone.name, tensors_sha256(backbone), cost.macs, cost.params, backbone.depth)


def data_figures(task: Task, data_hash: str) -> DataFigures:
    """Sizes of a task's splits."""
    return DataFigures(len(task.train), len(task.val), len(task.test), len(task.classes), task.size, data_hash)


def _said(split: Split, net: CompactNet, teacher: CompactNet | None) -> SplitPredictions:
    """What the networks say of a split's pictures, each in one pass."""
    return SplitPredictions.of(split, predictions(net, split), None if teacher is None else predictions(teacher, split))


def _mean(right: list[bool]) -> float:
    return sum(right) / len(right)


def _teacher_figures(
    context: Context, taught: Taught, teacher: CompactNet, test: SplitPredictions, latency: Latency
) -> TeacherFigures:
    cost = teacher.cost()
    assert test.teacher is not None
    return TeacherFigures(
        test_accuracy=_mean(test.right("teacher")),
        val_accuracy=context.run.fitted["teacher"].metrics["val_accuracy"],
        macs=cost.macs,
        params=cost.params,
        latency_ms=latency.ms,
        latency_packed_ms=latency.packed_ms,
        balanced_accuracy=balanced_accuracy(test.labels, test.teacher),
        method=taught.method,
        run=context.recipe.teacher.run,
        gives=list(taught.gives),
        task_params=sum(tensor.numel() for tensor in teacher.task_tensors().values()),
    )
