"""What a trained student would lose without some of its paths, nothing trained: three ways to ask.

    gate        the attention that the path gets, a
    taylor      |a dL/da|, the first-order change of the loss if the gate were closed (Molchanov et al., 2017, equation 6,
                on gates instead of feature maps)
    measured    the loss itself, layer by layer: each set of paths that a layer may be left with is tried on pictures

The first two give a number per path, and a layer loses the sum of what goes. `measured` sees that proxies can stand in for
a block and for each other. All look at the same validation pictures.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from blocks import Path, TailoredNet
from nettailor.data.batches import normalise
from nettailor.data.task import Task
from nettailor.pruning.graph import BlockGraph, GraphError
from nettailor.pruning.solver import Option, layer_options, options_from_paths

Importance = Literal["measured", "gate", "taylor"]
TAYLOR_BATCH = 32


def option_losses(student: TailoredNet, task: Task, kind: Importance, pictures: int) -> list[Option]:
    """Every option for every layer of a student's live graph, with its loss.

    Args:
        pictures: how many validation pictures to look at, at most; always the same ones.
    """
    graph = BlockGraph.of(student)
    if kind == "gate":
        return options_from_paths(graph, {path: data["gate"] for path, data in graph.edges()})
    x, labels = some_pictures(student, task, pictures)
    if kind == "taylor":
        return options_from_paths(graph, taylor(student, x, labels))
    return measured(student, graph, x, labels)


def pictures_run(options: list[Option], kind: Importance, pictures: int) -> int:
    """How many pictures were run through the student, forward alone, to find the losses of these options."""
    return {"gate": 0, "taylor": 1, "measured": len(options)}[kind] * pictures


def some_pictures(student: TailoredNet, task: Task, count: int) -> tuple[Tensor, Tensor]:
    """The same validation pictures (B, 3, H, W) and labels (B,) whenever they are asked for."""
    rows = torch.randperm(len(task.val), generator=torch.Generator().manual_seed(0))[:count]
    device = student.gates.fade.device
    return normalise(task.val.batch(rows), student.spec, device), task.val.labels[rows].to(device)


def taylor(student: TailoredNet, x: Tensor, labels: Tensor) -> dict[Path, float]:
    """Mean over batches of |a dL/da| for every live path."""
    was_training = student.training
    student.eval()
    total = torch.zeros_like(student.gates.fade)
    batches = list(zip(x.split(TAYLOR_BATCH), labels.split(TAYLOR_BATCH), strict=True))
    for some, answers in batches:
        activity = student.run(some)
        (slope,) = torch.autograd.grad(cross_entropy(activity.logits.float(), answers), activity.gates)
        total += (activity.gates.detach() * slope).abs() / len(batches)
    student.train(was_training)
    return {path: float(total[path.place]) for path in student.live_paths()}


@torch.no_grad()
def measured(student: TailoredNet, graph: BlockGraph, x: Tensor, labels: Tensor) -> list[Option]:
    """What each option adds to the loss on these pictures, all other layers left as they are.

    Layers before the one that an option changes are computed once for all options.
    """
    was_training, before = student.training, student.gates.fade.clone()
    whole = student.eval().run(x)
    base = float(cross_entropy(whole.logits, labels))
    found = []
    for layer, sets in layer_options(graph).items():
        paths = {path for path in graph.paths if path.target == layer}
        for kept in sets:
            if kept == paths:
                found.append(Option(layer, kept, 0.0))
                continue
            try:
                left = graph.without(paths - kept)
            except GraphError:
                continue
            student.keep(left.paths)
            logits = student.run(x, whole.activations[:layer]).logits
            found.append(Option(layer, kept, float(cross_entropy(logits, labels)) - base))
    student.gates.fade.copy_(before)
    student.train(was_training)
    return found
