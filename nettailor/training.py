"""The three trainings of a run: the teacher, the student, and the recovery of what pruning left.

backbone -> finetune -> teacher          backbone -> tailor -> student -> train -> (prune) -> recover
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from blocks import Backbone, Plan, TailoredNet
from blocks.ruler import tensors_of
from nettailor.extensions import find_form
from nettailor.fit import Fitted, Run, Schedule, accuracy, decayed, fit
from nettailor.losses import backward, classifier_parameters, expected_complexity
from nettailor.recipe import RecoverChoice, StudentChoice, TeacherChoice
from nettailor.task import Task


def finetune(backbone: Backbone, task: Task, choice: TeacherChoice | None = None, run: Run | None = None) -> Backbone:
    """Fine-tune a whole copy of the backbone on a task; the backbone itself is left as it is."""
    choice, run = choice or TeacherChoice(), run or Run()
    torch.manual_seed(run.seed)
    teacher = backbone.teacher(len(task.classes)).to(run.device)

    def step(x: Tensor, labels: Tensor) -> dict[str, Tensor]:
        loss = cross_entropy(teacher(x).float(), labels, label_smoothing=choice.label_smoothing)
        loss.backward()
        return {"ce": loss.detach()}

    def judge(epoch: int) -> dict[str, float]:
        return {"val_accuracy": accuracy(teacher, task.val)}

    fit(
        "teacher",
        teacher,
        tensors_of(teacher),
        decayed(list(teacher.parameters()), choice.lr, choice.weight_decay),
        Schedule(choice.epochs, choice.batch),
        task,
        backbone.spec,
        step,
        judge,
        run,
    )
    return teacher.requires_grad_(False).eval()


def tailor(backbone: Backbone, task: Task, choice: StudentChoice | None = None, run: Run | None = None) -> TailoredNet:
    """An untrained student of the backbone for a task."""
    choice, run = choice or StudentChoice(), run or Run()
    torch.manual_seed(run.seed + 1)
    return TailoredNet(backbone, len(task.classes), plan_of(choice)).to(run.device)


def plan_of(choice: StudentChoice) -> Plan:
    """What a recipe's student is made of.

    Raises:
        UsageProblem: there is no such form of proxy.
    """
    return Plan(choice.skips, find_form(choice.proxies), choice.gates, choice.batch_norm)


def train(
    student: TailoredNet, teacher: Backbone, task: Task, choice: StudentChoice | None = None, run: Run | None = None
) -> Fitted:
    """Train a student with all terms of the loss."""
    choice = choice or StudentChoice()
    return fit_student("student", student, teacher, task, choice, choice.epochs, choice.lr, run or Run())


def recover(
    student: TailoredNet,
    teacher: Backbone,
    task: Task,
    choice: RecoverChoice | None = None,
    settings: StudentChoice | None = None,
    run: Run | None = None,
) -> Fitted:
    """Train what is left of a pruned student: teacher kept, complexity off."""
    choice = choice or RecoverChoice()
    settings = replace(settings or StudentChoice(), complexity_weight=0.0)
    return fit_student("recover", student, teacher, task, settings, choice.epochs, choice.lr, run or Run())


def fit_student(
    stage: str,
    student: TailoredNet,
    teacher: Backbone,
    task: Task,
    choice: StudentChoice,
    epochs: int,
    lr: float,
    run: Run,
    before_step: Callable[[float], None] | None = None,
) -> Fitted:
    """Train a student for some epochs; the gates' learning rate keeps its ratio to the others'."""
    trained = live_parameters(student)
    groups = decayed(trained, lr, choice.weight_decay)
    groups.append({"params": [student.gates.logits], "lr": choice.gate_lr * lr / choice.lr, "weight_decay": 0.0})

    def step(x: Tensor, labels: Tensor) -> dict[str, Tensor]:
        return backward(student, teacher, x, labels, choice)

    def judge(epoch: int) -> dict[str, float]:
        gates = student.gates().detach()
        for path in student.live_paths():
            run.scalars(f"{stage}/gates/{path.key}", float(gates[path.place]), epoch)
        return {
            "val_accuracy": accuracy(student, task.val),
            "expected_complexity": float(expected_complexity(student, gates, choice.complexity)),
        }

    schedule = Schedule(epochs, choice.batch)
    own = student.task_tensors()
    return fit(stage, student, own, groups, schedule, task, student.spec, step, judge, run, before_step)


def live_parameters(student: TailoredNet) -> list[torch.nn.Parameter]:
    """What trains in a student, gates excepted: stem norms, live layers and the classifier."""
    found = [p for p in student.stem.parameters() if p.requires_grad]
    for layer in range(1, student.depth + 1):
        found += student.layer_parameters(layer)
    return found + classifier_parameters(student)
