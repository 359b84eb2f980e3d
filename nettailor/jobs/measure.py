"""What a trained network is worth: accuracy on the test split, read once, and costs, counted alike for every method.

Context, Trained -> measure -> Report
"""

from __future__ import annotations

import time

import torch

from blocks import Backbone, CompactNet, compact, fold
from nettailor.artifacts import delta
from nettailor.artifacts.report import (
    BackboneFigures,
    CompactFigures,
    DataFigures,
    RemovedFigures,
    Report,
    TeacherFigures,
)
from nettailor.backbones.load import fingerprint
from nettailor.data.task import Task
from nettailor.environment import device_name
from nettailor.methods._protocol import Context, Trained
from nettailor.pruning.graph import BlockGraph
from nettailor.training.loop import accuracy

LATENCY_RUNS, LATENCY_WARMUP = 21, 5


def measure(context: Context, trained: Trained) -> Report:
    """Read the test split, once for each network that the report is about, and count everything."""
    backbone, task, recipe = context.backbone, context.task, context.recipe
    net, whole, graph = trained.net, backbone.cost, BlockGraph.of(trained.net)
    cost, kept = net.cost(), len(graph.universal())
    teacher = None if trained.teacher is None else compact(trained.teacher, backbone)
    times = latencies_ms([fold(n) for n in (teacher, net) if n is not None], backbone.spec.size, context.run.device)
    figures = CompactFigures(
        test_accuracy=accuracy(net, task.test),
        val_accuracy=accuracy(net, task.val),
        macs=cost.macs,
        params=cost.params,
        task_params=sum(tensor.numel() for tensor in net.task_tensors().values()),
        task_bytes=delta.task_bytes(context.folder.delta),
        latency_ms=times[-1],
        universal_blocks_kept=kept,
        proxies_kept=len(graph.proxies()),
    )
    return Report(
        task=task.name,
        method=recipe.method.name,
        backbone=backbone_figures(backbone),
        data=data_figures(task, context.data_hash),
        seed=recipe.seed,
        teacher=None if teacher is None else _teacher_figures(context, teacher, times[0]),
        student=None if trained.student is None else trained.student(),
        compact=figures,
        removed=RemovedFigures(1 - cost.macs / whole.macs, 1 - cost.params / whole.params, 1 - kept / backbone.depth),
        prune=trained.prune,
        seconds={},
        epochs=trained.epochs,
        device=device_name(context.run.device),
    )


def backbone_figures(backbone: Backbone) -> BackboneFigures:
    """A backbone's name, hash and size."""
    cost = backbone.cost
    return BackboneFigures(backbone.name, fingerprint(backbone), cost.macs, cost.params, backbone.depth)


def data_figures(task: Task, data_hash: str) -> DataFigures:
    """Sizes of a task's splits."""
    return DataFigures(len(task.train), len(task.val), len(task.test), len(task.classes), task.size, data_hash)


def _teacher_figures(context: Context, teacher: CompactNet, latency_ms: float) -> TeacherFigures:
    cost, val_accuracy = teacher.cost(), context.run.fitted["teacher"].metrics["val_accuracy"]
    return TeacherFigures(accuracy(teacher, context.task.test), val_accuracy, cost.macs, cost.params, latency_ms)


@torch.inference_mode()
def latencies_ms(nets: list[torch.nn.Module], size: int, device: torch.device) -> list[float]:
    """Median milliseconds for one picture, the nets taking turns."""
    x = torch.zeros(1, 3, size, size, device=device).contiguous(memory_format=torch.channels_last)
    times: list[list[float]] = [[] for _ in nets]
    for turn in range(LATENCY_WARMUP + LATENCY_RUNS):
        for net, taken in zip(nets, times, strict=True):
            start = time.perf_counter()
            net.eval()(x)
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            if turn >= LATENCY_WARMUP:
                taken.append((time.perf_counter() - start) * 1000)
    return [sorted(taken)[len(taken) // 2] for taken in times]
