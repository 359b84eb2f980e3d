"""What a grown network can still do for the source (Wang et al. 2017, "learning without forgetting").

    trained net, frozen -> activations that its head reads, of source pictures, computed once
                        -> new units, scales and a source classifier, trained with cross entropy -> accuracy, held out

The frozen part is what it became on the task; nothing of this training is kept. How the published figures were trained is
not said; the passes, the rate (that of the task's training for new layers) and that pictures are not augmented are ours.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from blocks import CompactNet
from blocks.counting import tensors_of
from blocks.grown import CLASSIFIER, GROWN
from blocks.top import NEW
from blocks.whole import WholeNet
from nettailor.data.batches import evaluation_batches, steps_per_epoch
from nettailor.data.source import SourcePictures, evenly
from nettailor.data.task import Split, Task
from nettailor.training.config import TeacherConfig
from nettailor.training.loop import Schedule, accuracy, fit, parameter_groups
from nettailor.training.run import Run

ELEMENT = 4  # bytes of a float32


@dataclass(frozen=True)
class Remembered:
    """Accuracy on all held-out source pictures, after so many passes over `train` others."""

    accuracy: float
    train: int
    epochs: int


def remember(
    stage: str, trained: CompactNet, source: SourcePictures, rate: float, config: TeacherConfig, run: Run, memory: float
) -> Remembered:
    """Train a source classifier and the new units of a grown network on the source, the rest frozen.

    Args:
        trained: with a grown top; left as it is.
        rate: peak learning rate of all that trains.
        config: passes, batch and weight decay.
        memory: gigabytes for the activations of source pictures; fewer pictures are taken where all need more.
    """
    net = _on_source(trained, len(source.classes), run)
    units = nn.ModuleDict(
        {name: part for name, part in net.head.named_children() if name.startswith((NEW, GROWN))}
    ).requires_grad_(True)
    each = ELEMENT * sum(torch.Size(net.backbone.shapes[number]).numel() for number in net.head_reads)
    split = evenly(source.train, max(1, int(memory * 2**30 / each)))
    read = _activations(net, split)
    val = source.some_held_out(1000)
    task = Task(source.name, source.classes, split, val, val, split.size)

    def batches(batch: int, generator: torch.Generator) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        order = torch.randperm(len(split), generator=generator)
        for step in range(steps_per_epoch(split, batch)):
            rows = order[step * batch : (step + 1) * batch]
            yield rows, split.labels[rows].to(run.device), rows

    def step(x: Tensor, labels: Tensor, rows: Tensor) -> dict[str, Tensor]:
        logits = net.head(*(known[rows].to(run.device) for known in read))
        loss = cross_entropy(logits.float(), labels)
        loss.backward()
        return {"ce": loss.detach()}

    plain = replace(run, training=replace(run.training, mixup=0.0, cutmix=0.0, stop_after=0))
    fitted = fit(
        stage,
        units,
        tensors_of(units),
        parameter_groups(list(units.parameters()), rate, config.weight_decay),
        Schedule(config.epochs, config.batch),
        task,
        net.spec,
        step,
        lambda epoch: {"source_accuracy": accuracy(net, val)},
        plain,
        fixed=batches,
    )
    return Remembered(accuracy(net, source.held_out), len(split), fitted.epochs)


@torch.no_grad()
def _on_source(trained: CompactNet, classes: int, run: Run) -> WholeNet:
    """A frozen copy of a network in eval mode, with a fresh classifier for the source."""
    torch.manual_seed(run.seed)
    net = WholeNet(trained.backbone, replace(trained.plan, classes=classes)).to(run.device)
    own = net.task_tensors()
    for name, tensor in trained.task_tensors().items():
        if not name.startswith(f"head.{CLASSIFIER}."):
            own[name].copy_(tensor)
    net.requires_grad_(False).eval()
    return net


@torch.no_grad()
def _activations(net: WholeNet, split: Split) -> list[Tensor]:
    """What the head reads of every picture of a split, on the CPU."""
    found: list[list[Tensor]] = [[] for _ in net.head_reads]
    for x, _ in evaluation_batches(split, net.spec, next(net.parameters()).device):
        xs = net.advance({0: net.stem(x)}, 0, net.depth)
        for kept, number in zip(found, net.head_reads, strict=True):
            kept.append(xs[number].cpu())
    return [torch.cat(parts) for parts in found]
