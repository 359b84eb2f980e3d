"""The three trainings of a run: the teacher, the student, and the recovery of what pruning left.

backbone -> finetune -> teacher          backbone -> tailor -> student -> train -> (prune) -> recover
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from blocks import Backbone, Plan, TailoredNet
from blocks.batching import batch_slices
from blocks.bn_statistics import recalibrate_norms
from blocks.counting import tensors_of
from blocks.memory import map_large_tensors, pictures_at_once
from blocks.shallow import ShallowNet
from blocks.warm_start import warm_start
from nettailor.data.augment import augments
from nettailor.data.batches import evaluation_batches, normalise
from nettailor.data.task import Split, Task
from nettailor.training.config import RecoverConfig, StudentConfig, TeacherConfig
from nettailor.training.layerwise import layerwise_groups
from nettailor.training.loop import BeforeStep, Fitted, Run, Schedule, accuracy, fit, parameter_groups
from nettailor.training.losses import (
    backward,
    classifier_parameters,
    expected_complexity,
    label_loss,
    weights_of_classes,
)
from nettailor.training.mixing import mixes
from nettailor.training.proxy_forms import find_form

WARM_BATCH = 64
FEWEST_FOR_STATISTICS = 16  # pictures; statistics of fewer vary too much from batch to batch


def finetune(backbone: Backbone, task: Task, config: TeacherConfig | None = None, run: Run | None = None) -> Backbone:
    """Fine-tune a whole copy of the backbone on a task; the backbone itself is left as it is."""
    config, run = config or TeacherConfig(), run or Run()
    torch.manual_seed(run.seed)
    teacher = backbone.teacher(len(task.classes)).to(run.device)

    groups = layerwise_groups(teacher, config.lr, config.weight_decay, config.layer_decay)
    schedule, smoothing = Schedule(config.epochs, config.batch), config.label_smoothing
    fit_to_labels("teacher", teacher, tensors_of(teacher), groups, schedule, task, run, smoothing)
    return teacher.requires_grad_(False).eval()


def fit_to_labels(
    stage: str,
    net: Backbone | TailoredNet | ShallowNet,
    own: dict[str, Tensor],
    groups: list[dict[str, Any]],
    schedule: Schedule,
    task: Task,
    run: Run,
    label_smoothing: float = 0.0,
) -> Fitted:
    """Train a net with cross entropy alone; arguments as those of `loop.fit`."""
    weights = class_weights(task, run)

    def step(x: Tensor, labels: Tensor, rows: Tensor) -> dict[str, Tensor]:
        loss = label_loss(net(x), labels, weights, label_smoothing)
        loss.backward()
        return {"ce": loss.detach()}

    def evaluate(epoch: int) -> dict[str, float]:
        return {"val_accuracy": accuracy(net, task.val)}

    return fit(stage, net, own, groups, schedule, task, net.spec, step, evaluate, run)


def class_weights(task: Task, run: Run) -> Tensor | None:
    """Weights (classes,) of a run's cross entropy where the run is, or None."""
    weights = weights_of_classes(run.training.class_weights, task.train.labels, len(task.classes))
    return None if weights is None else weights.to(run.device)


def tailor(backbone: Backbone, task: Task, config: StudentConfig | None = None, run: Run | None = None) -> TailoredNet:
    """A fresh student of the backbone for a task, its proxies fitted to the blocks beside them where the choice says so."""
    config, run = config or StudentConfig(), run or Run()
    torch.manual_seed(run.seed + 1)
    student = TailoredNet(backbone, len(task.classes), plan_of(config)).to(run.device)
    if student.keeps_much():
        map_large_tensors()
    if config.warm_start:
        rows = torch.randperm(len(task.train), generator=torch.Generator().manual_seed(run.seed))[: config.warm_start]
        size = pictures_at_once(student.backbone.shapes, WARM_BATCH, least=FEWEST_FOR_STATISTICS)
        parts = [rows[part] for part in batch_slices(len(rows), size)]

        def batches() -> Iterator[Tensor]:
            return (normalise(task.train.batch(part), student.spec, run.device) for part in parts)

        warm_start(student, batches)
    return student


def plan_of(config: StudentConfig) -> Plan:
    """What a recipe's student is made of.

    Raises:
        UsageError: there is no such form of proxy.
    """
    return Plan(config.skips, find_form(config.proxies), config.gates, config.batch_norm, config.rank)


def train(
    student: TailoredNet, teacher: Backbone, task: Task, config: StudentConfig | None = None, run: Run | None = None
) -> Fitted:
    """Train a student with all terms of the loss."""
    config = config or StudentConfig()
    return fit_student("student", student, teacher, task, config, config.epochs, config.lr, run or Run())


def recover(
    student: TailoredNet,
    teacher: Backbone,
    task: Task,
    config: RecoverConfig | None = None,
    settings: StudentConfig | None = None,
    run: Run | None = None,
    stage: str = "recover",
) -> Fitted:
    """Estimate its norms' statistics anew and train what is left of a pruned student: teacher kept, complexity off.

    Args:
        stage: name of the checkpoint, where several networks of a run are recovered.
    """
    config, run = config or RecoverConfig(), run or Run()
    settings = replace(settings or StudentConfig(), complexity_weight=0.0)
    if not run.checkpoints.has(stage):
        recalibrate(student, task, run)
    return fit_student(stage, student, teacher, task, settings, config.epochs, config.lr, run)


def recalibrate(student: TailoredNet, task: Task, run: Run) -> None:
    """Estimate the statistics of the norms that the task owns anew, on one pass over the training pictures, unvaried."""
    recalibrate_norms(student, (x for x, _ in evaluation_batches(task.train, student.spec, run.device)))


def fit_student(
    stage: str,
    student: TailoredNet,
    teacher: Backbone,
    task: Task,
    config: StudentConfig,
    epochs: int,
    lr: float,
    run: Run,
    before_step: BeforeStep | None = None,
) -> Fitted:
    """Train a student for some epochs; the gates' learning rate keeps its ratio to the others'."""
    answers, weights = TeacherTargets(teacher, task.train, run), class_weights(task, run)
    trained = live_parameters(student)
    groups = parameter_groups(trained, lr, config.weight_decay)
    groups.append({"params": [student.gates.logits], "lr": config.gate_lr * lr / config.lr, "weight_decay": 0.0})

    def step(x: Tensor, labels: Tensor, rows: Tensor) -> dict[str, Tensor]:
        return backward(student, answers.teacher, x, labels, config, answers.known(rows), weights)

    def evaluate(epoch: int) -> dict[str, float]:
        gates = student.gates().detach()
        for path in student.live_paths():
            run.scalars(f"{stage}/gates/{path.key}", float(gates[path.place]), epoch)
        return {
            "val_accuracy": accuracy(student, task.val),
            "expected_complexity": float(expected_complexity(student, gates, config.complexity)),
        }

    schedule = Schedule(epochs, config.batch)
    own = student.task_tensors()
    return fit(stage, student, own, groups, schedule, task, student.spec, step, evaluate, run, before_step)


class TeacherTargets:
    """A teacher's activations and logits for training pictures.

    Where training shows every picture unvaried and unmixed, and they fit into the memory that the recipe allows, they are
    computed once.

    Attributes:
        teacher: its norms folded, for pictures whose answers are not known.
    """

    def __init__(self, teacher: Backbone, split: Split, run: Run) -> None:
        self.teacher = teacher.frozen_copy()
        self._known: list[Tensor] = []
        size = sum(math.prod(shape) for shape in teacher.shapes)
        varied = augments(run.augmentation) or mixes(run.training)
        if varied or 4 * size * len(split) > run.augmentation.memory_gib * 2**30:
            return
        with torch.no_grad(), run.autocast():
            batches = [self.teacher.activations(x) for x, _ in evaluation_batches(split, teacher.spec, run.device)]
        self._known = [torch.cat(layer) for layer in zip(*batches, strict=True)]

    def known(self, rows: Tensor) -> list[Tensor] | None:
        """x_0..x_L and the logits of some pictures of the split, or None."""
        return [layer[rows.to(layer.device)] for layer in self._known] or None


def live_parameters(student: TailoredNet) -> list[torch.nn.Parameter]:
    """What trains in a student, gates excepted: stem norms, live layers and the classifier."""
    found = [p for p in student.stem.parameters() if p.requires_grad]
    for layer in range(1, student.depth + 1):
        found += student.layer_parameters(layer)
    return found + classifier_parameters(student)
