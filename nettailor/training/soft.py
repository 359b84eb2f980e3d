"""Soft fine-tuning: a term beside the target's loss that keeps what the network knew, and falls away.

    soft    L(t) = CE(C h(x_T), y_T) + lambda(t) * CE(W_s h(x_S) + b_s, y_S)                         source pictures
    lwf     L(t) = CE(C h(x_T), y_T) + lambda(t) * 2^2 KL(W_s h(x_T) + b_s from the frozen source network's answers to x_T)

C and W_s both train; W_s is no part of the network. Source pictures go through the network on their own, normalised by their
own batch (or by the running statistics, `norms`), and leave these alone: they are the target's. Once lambda is 0, no source
picture is read any more.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from blocks import Backbone
from blocks.bn_statistics import by_running_statistics, statistics_kept
from nettailor.data.batches import normalise, steps_per_epoch
from nettailor.data.source import SourceBatches, SourcePictures
from nettailor.data.task import Task
from nettailor.training.config import TeacherConfig
from nettailor.training.finetuning import Objective, ObjectiveOf, class_weights
from nettailor.training.loop import Schedule
from nettailor.training.losses import label_loss, softened_divergence
from nettailor.training.run import Run
from nettailor.training.source_head import SourceHead
from nettailor.training.source_weight import SourceWeight

TEMPERATURE = 2.0
"""Of both sides' answers in `lwf`, as in Li & Hoiem (2016)."""
Norms = Literal["batch", "running"]
READ = "source_pictures"
"""In the clock's memory: source pictures read so far."""


@dataclass
class Clock:
    """Where a training is, before every optimiser step: what lambda is there, and the number of the batch.

    Attributes:
        memory: kept with the checkpoint.
    """

    weight: SourceWeight
    steps: int
    epochs: int
    together: int
    memory: dict[str, float] = field(default_factory=dict)
    now: float = 0.0
    is_over = True  # a pass with a weight above 0 is as good a network as any other
    _batch: int = 0

    @classmethod
    def of(cls, weight: SourceWeight, task: Task, config: TeacherConfig, run: Run) -> Clock:
        """Of the training that these settings make."""
        together = run.training.accumulate
        batches = steps_per_epoch(task.train, Schedule(config.epochs, config.batch).batch_of(len(task.train)))
        return cls(weight, math.ceil(batches / together), config.epochs, together)

    def __call__(self, epoch: float, /) -> None:
        number = round(epoch * self.steps)
        self.now = self.weight(number / (self.epochs * self.steps))
        self._batch = number * self.together

    def next_batch(self) -> int:
        """The number of a batch, the next at every call."""
        self._batch += 1
        return self._batch - 1


def softly(
    source: SourcePictures, head: SourceHead, weight: SourceWeight, norms: Norms = "batch"
) -> ObjectiveOf[Backbone]:
    """Source pictures beside the target's, as many in a batch; their loss is the cross entropy of the source head.

    Args:
        norms: by what norms that train normalise source pictures: their own batch, or the running statistics.
    """
    apart = statistics_kept if norms == "batch" else by_running_statistics

    def objective(net: Backbone, task: Task, config: TeacherConfig, run: Run) -> Objective:
        clock, source_logits = Clock.of(weight, task, config, run), head.on(net)
        size = Schedule(config.epochs, config.batch).batch_of(len(task.train))
        batches = SourceBatches(source.train, size, run.seed, int(run.augmentation.memory_gib * 2**30))
        rows = head.rows.to(run.device)

        def loss(x: Tensor, last: Tensor) -> Tensor:
            images, labels = batches(clock.next_batch())
            clock.memory[READ] = clock.memory.get(READ, 0) + len(images)
            with apart(net):
                logits = source_logits(last_activation(net, normalise(images, net.spec, run.device)))
            return cross_entropy(logits.float(), rows[labels.to(run.device)])

        return _objective(net, task, config, run, clock, head, loss, apart=True)

    return objective


def remembering(backbone: Backbone, head: SourceHead, weight: SourceWeight) -> ObjectiveOf[Backbone]:
    """The frozen source network's answers to the target's pictures are to be kept (Li & Hoiem 2016)."""
    frozen = backbone.frozen_copy()

    def objective(net: Backbone, task: Task, config: TeacherConfig, run: Run) -> Objective:
        clock, source_logits = Clock.of(weight, task, config, run), head.on(net)

        def loss(x: Tensor, last: Tensor) -> Tensor:
            with torch.no_grad():
                answers = frozen(x)
            return softened_divergence(source_logits(last), answers, TEMPERATURE)

        return _objective(net, task, config, run, clock, head, loss, apart=False)

    return objective


def last_activation(net: Backbone, x: Tensor) -> Tensor:
    """x_L of normalised pictures."""
    found = net.stem(x)
    for block, act in zip(net.blocks, net.acts, strict=True):
        found = act(block(found))
    return found


def _objective(
    net: Backbone,
    task: Task,
    config: TeacherConfig,
    run: Run,
    clock: Clock,
    head: SourceHead,
    source_loss: Callable[[Tensor, Tensor], Tensor],
    apart: bool,
) -> Objective:
    """The labels, and a source loss that weighs what the clock says; it is not computed where that is nothing.

    Args:
        source_loss: of a batch's pictures and their x_L.
        apart: it does not read x_L, so the two losses' activations need not be kept together.
    """
    weights = class_weights(task, run)

    def step(x: Tensor, labels: Tensor, rows: Tensor) -> dict[str, Tensor]:
        last = last_activation(net, x)
        loss = label_loss(net.head(last), labels, weights, config.label_smoothing)
        if clock.now == 0:
            loss.backward()
            return {"ce": loss.detach()}
        if apart:
            loss.backward()
            other = source_loss(x, last)
            (clock.now * other).backward()
        else:
            other = source_loss(x, last)
            (loss + clock.now * other).backward()
        return {"ce": loss.detach(), "source": other.detach()}

    beside = nn.ModuleDict({f"source{place}": part for place, part in enumerate(head.classifiers.values())})
    return Objective(step, beside=beside, before_step=clock)
