"""What a trained student would lose without some of its paths, nothing trained: three ways to ask.

    gate        the attention that the path gets, a
    taylor      |a dL/da|, the first-order change of the loss if the gate were closed (Molchanov et al., 2017, equation 6,
                on gates instead of feature maps)
    measured    the loss itself, layer by layer: each set of paths that a layer may be left with is tried on pictures
    auto        taylor while the paths cost more than half of all blocks, then measured: the fewer paths are left, the more
                it matters which of them go, and the less it costs to try them all; measured from the start where training
                is at a rate that keeps pretrained features, which brings back little of what a wrong choice took

The first two give a number per path, and a layer loses the sum of what goes. `measured` sees that proxies can stand in for
a block and for each other. All look at the same validation pictures. Where what stays is fitted anew after a cut, so it is
for every set that is tried, and the loss is the cross entropy against what the teacher answers, not against labels.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from blocks import Path, TailoredNet
from blocks.memory import pictures_at_once
from blocks.option_fits import OptionFits
from blocks.teachers import Teacher
from nettailor.data.batches import normalise
from nettailor.data.task import Task
from nettailor.progress import Display
from nettailor.pruning.graph import BlockGraph, GraphError
from nettailor.pruning.refit import pictures_to_measure_behind
from nettailor.pruning.solver import Option, layer_options, options_from_paths
from nettailor.training.run import Run

Importance = Literal["auto", "measured", "gate", "taylor"]
Pictures = tuple[Tensor, Tensor]
"""Pictures (B, 3, H, W) and their labels (B,), or a teacher's probabilities (B, classes)."""
Tried = tuple[int, frozenset[Path], BlockGraph | None]
"""An option: its layer, the paths that the layer keeps, and the graph that is left, None where all stays as it is."""

TAYLOR_BATCH = 32
MANY_PATHS = 0.5
"""Of the cost of all universal blocks that may go: with more than that left, a first-order look chooses about as well."""
GRADIENT_COPIES = 6
"""A forward for gradients holds some six times the size of x_0..x_L: inside blocks, and what proxies give."""


@dataclass(frozen=True)
class Refits:
    """That a loss is measured behind a fit, and what it takes: pictures (B, 3, H, W) in batches, and what it is held to."""

    pictures: Callable[[], Iterable[Tensor]]
    teacher: Teacher

    @classmethod
    def of(cls, student: TailoredNet, task: Task, run: Run, teacher: Teacher) -> Refits:
        """On unvaried training pictures, a part of those that a cut itself is fitted on."""
        return cls(partial(pictures_to_measure_behind, student, task, run), teacher)

    @torch.no_grad()
    def answers(self, x: Tensor) -> Tensor:
        """The teacher's probabilities (B, classes)."""
        return self.teacher.eval()(x).float().softmax(1)


def kind_for(kind: Importance, student: TailoredNet, graph: BlockGraph, keeps_features: bool) -> Importance:
    """What `auto` means for a graph; every other kind is what it is.

    Args:
        keeps_features: whether the student is trained at a rate that keeps pretrained features while it is pruned.
    """
    if kind != "auto":
        return kind
    if keeps_features:
        return "measured"
    fixed = graph.fixed_price()
    many = graph.price() - fixed > MANY_PATHS * (student.cost_model.blocks - fixed)
    return "taylor" if many else "measured"


def option_losses(
    student: TailoredNet,
    task: Task,
    kind: Importance,
    pictures: int,
    display: Display | None = None,
    refits: Refits | None = None,
) -> list[Option]:
    """Every option for every layer of a student's live graph, with its loss.

    Args:
        kind: as `kind_for` answers.
        pictures: how many validation pictures to look at, at most; always the same ones.
        display: where it is shown how far a measurement is, which takes minutes on large pictures.
        refits: where proxies are fitted anew after a cut; read by a measurement.
    """
    graph = BlockGraph.of(student)
    if kind == "gate":
        return options_from_paths(graph, {path: data["gate"] for path, data in graph.edges()})
    shapes = student.backbone.shapes
    if kind == "taylor":
        size = pictures_at_once(shapes, TAYLOR_BATCH, copies=GRADIENT_COPIES)
        return options_from_paths(graph, taylor(student, some_pictures(student, task, pictures, TAYLOR_BATCH), size))
    size = pictures_at_once(shapes, pictures)
    tried = options_that_hold(graph)
    turns = len(tried) * math.ceil(min(pictures, len(task.val)) / size)
    with (display or Display(quiet=True)).turns("prune      measuring what may go", turns) as advance:
        return measured(student, tried, some_pictures(student, task, pictures, size, refits), advance, refits)


def pictures_run(options: list[Option], kind: Importance, pictures: int) -> int:
    """How many pictures were run through the student, forward alone, to find the losses of these options."""
    return {"gate": 0, "taylor": 1, "measured": len(options)}[kind] * pictures


def some_pictures(
    student: TailoredNet, task: Task, count: int, size: int, refits: Refits | None = None
) -> Iterator[Pictures]:
    """The same `count` validation pictures and what they are to be answered whenever they are asked for, `size` at a time."""
    rows = torch.randperm(len(task.val), generator=torch.Generator().manual_seed(0))[:count]
    device = student.gates.fade.device
    for some in rows.split(size):
        x = normalise(task.val.batch(some), student.spec, device)
        yield x, task.val.labels[some].to(device) if refits is None else refits.answers(x)


def taylor(student: TailoredNet, batches: Iterable[Pictures], size: int = TAYLOR_BATCH) -> dict[Path, float]:
    """Mean over batches of |a dL/da| for every live path.

    Args:
        size: how many pictures of a batch are looked at together; their slopes are added up before the modulus.
    """
    was_training = student.training
    student.eval()
    found = []
    for x, labels in batches:
        slope = torch.zeros_like(student.gates.fade)
        for some, answers in zip(x.split(size), labels.split(size), strict=True):
            activity = student.run(some)
            loss = cross_entropy(activity.logits.float(), answers) * (len(some) / len(x))
            if student.plan.shared_prefix < student.depth:  # else no gate counts
                slope += torch.autograd.grad(loss, activity.gates)[0]
        found.append((student.gates().detach() * slope).abs())
    student.train(was_training)
    total = torch.zeros_like(student.gates.fade)
    for one in found:
        total += one / len(found)
    return {path: float(total[path.place]) for path in student.live_paths()}


@torch.no_grad()
def measured(
    student: TailoredNet,
    tried: list[Tried],
    batches: Iterable[Pictures],
    advance: Callable[[], None] = lambda: None,
    refits: Refits | None = None,
) -> list[Option]:
    """What each option adds to the loss on these pictures, all other layers left as they are.

    Layers before the one that an option changes are computed once for all options, batch by batch.

    Args:
        tried: options that hold together (`options_that_hold`), layer by layer.
        advance: called when an option has been tried on a batch.
        refits: where the proxies of the layer are fitted anew for every option.
    """
    was_training, before = student.training, student.gates.fade.clone()
    student.eval()
    base, losses, seen = 0.0, [0.0] * len(tried), 0
    with student.folded(proxies=refits is not None):
        for x, labels in batches:
            student.gates.fade.copy_(before)
            whole = student.run(x)
            base += len(x) * float(cross_entropy(whole.logits, labels))
            fits = None if refits is None else OptionFits(student, refits.pictures())
            for place, (layer, kept, left) in enumerate(tried):
                if left is not None:
                    student.keep(left.paths)
                    with nullcontext() if fits is None else fits.fitted(layer, kept):
                        logits = student.run(x, whole.activations[:layer]).logits
                    losses[place] += len(x) * float(cross_entropy(logits, labels))
                advance()
            seen += len(x)
    student.gates.fade.copy_(before)
    student.train(was_training)
    return [
        Option(layer, kept, 0.0 if left is None else (loss - base) / seen)
        for (layer, kept, left), loss in zip(tried, losses, strict=True)
    ]


def losses_in_place_of_blocks(
    student: TailoredNet, proxies: Sequence[Path], batches: Iterable[Pictures], advance: Callable[[], None]
) -> list[Option]:
    """What each of some proxies, alone in its layer, adds to the loss on these pictures, all other layers being blocks alone.

    They are what they are: nothing is fitted. The student is left as it was.

    Args:
        proxies: each reads what the block reads in whose place it is, so that nothing else goes with that.
    """
    before = student.gates.fade.clone()
    student.keep(student.paths)
    graph, blocks = BlockGraph.of(student), [path for path in student.paths if path.is_universal]
    tried: list[Tried] = []
    for proxy in proxies:
        kept = {proxy, *(block for block in blocks if block.target != proxy.target)}
        tried.append((proxy.target, frozenset([proxy]), graph.without(set(graph.paths) - kept)))
    student.keep(blocks)
    found = measured(student, tried, batches, advance)
    student.gates.fade.copy_(before)
    return found


@torch.no_grad()
def loss_left_with(student: TailoredNet, left: BlockGraph, task: Task, pictures: int) -> float:
    """What the loss on validation pictures grows by if a student were left with a graph, nothing trained."""
    was_training, before = student.training, student.gates.fade.clone()
    size = pictures_at_once(student.backbone.shapes, pictures)
    student.eval()
    total, seen = 0.0, 0
    for x, labels in some_pictures(student, task, pictures, size):
        student.gates.fade.copy_(before)
        whole = cross_entropy(student.run(x).logits, labels)
        student.keep(left.paths)
        total += len(x) * float(cross_entropy(student.run(x).logits, labels) - whole)
        seen += len(x)
    student.gates.fade.copy_(before)
    student.train(was_training)
    return total / seen


def options_that_hold(graph: BlockGraph) -> list[Tried]:
    """Every option that holds together."""
    found: list[Tried] = []
    for layer, sets in layer_options(graph).items():
        paths = {path for path in graph.paths if path.target == layer}
        for kept in sets:
            try:
                found.append((layer, kept, None if kept == paths else graph.without(paths - kept)))
            except GraphError:
                continue
    return found
