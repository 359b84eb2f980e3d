"""The three trainings of a run: the teacher, the student, and the recovery of what pruning left.

backbone -> finetune -> teacher          backbone -> tailor -> student -> train -> (prune) -> recover
"""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from blocks import Backbone, Plan, TailoredNet
from blocks.ruler import tensors_of
from blocks.warm import estimate_norms, warm_start
from nettailor.batches import evaluation_batches, is_varied, normalise
from nettailor.extensions import find_form
from nettailor.fit import Fitted, Run, Schedule, accuracy, decayed, fit
from nettailor.graph import BlockGraph
from nettailor.losses import backward, classifier_parameters, expected_complexity
from nettailor.recipe import RecoverChoice, StudentChoice, TeacherChoice
from nettailor.task import Split, Task


def finetune(backbone: Backbone, task: Task, choice: TeacherChoice | None = None, run: Run | None = None) -> Backbone:
    """Fine-tune a whole copy of the backbone on a task; the backbone itself is left as it is."""
    choice, run = choice or TeacherChoice(), run or Run()
    torch.manual_seed(run.seed)
    teacher = backbone.teacher(len(task.classes)).to(run.device)

    def step(x: Tensor, labels: Tensor, rows: Tensor) -> dict[str, Tensor]:
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
    """A fresh student of the backbone for a task, its proxies fitted to the blocks beside them where the choice says so."""
    choice, run = choice or StudentChoice(), run or Run()
    torch.manual_seed(run.seed + 1)
    student = TailoredNet(backbone, len(task.classes), plan_of(choice)).to(run.device)
    if choice.warm_start:
        rows = torch.randperm(len(task.train), generator=torch.Generator().manual_seed(run.seed))[: choice.warm_start]
        warm_start(student, normalise(task.train.batch(rows), student.spec, run.device))
    return student


def plan_of(choice: StudentChoice) -> Plan:
    """What a recipe's student is made of.

    Raises:
        UsageProblem: there is no such form of proxy.
    """
    return Plan(choice.skips, find_form(choice.proxies), choice.gates, choice.batch_norm, choice.rank)


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
    stage: str = "recover",
) -> Fitted:
    """Estimate its norms' statistics anew and train what is left of a pruned student: teacher kept, complexity off.

    Args:
        stage: name of the checkpoint, where several networks of a run are recovered.
    """
    choice, run = choice or RecoverChoice(), run or Run()
    settings = replace(settings or StudentChoice(), complexity_weight=0.0)
    if not run.checkpoints.has(stage):
        reestimate(student, task, run)
    return fit_student(stage, student, teacher, task, settings, choice.epochs, choice.lr, run)


def reestimate(student: TailoredNet, task: Task, run: Run) -> None:
    """Estimate the statistics of the norms that the task owns anew, on one pass over the training pictures, unvaried."""
    estimate_norms(student, (x for x, _ in evaluation_batches(task.train, student.spec, run.device)))


def fit_student(
    stage: str,
    student: TailoredNet,
    teacher: Backbone,
    task: Task,
    choice: StudentChoice,
    epochs: int,
    lr: float,
    run: Run,
    fade: Fade | None = None,
) -> Fitted:
    """Train a student for some epochs; the gates' learning rate keeps its ratio to the others'."""
    answers = Answers(teacher, task.train, run)
    trained = live_parameters(student)
    groups = decayed(trained, lr, choice.weight_decay)
    groups.append({"params": [student.gates.logits], "lr": choice.gate_lr * lr / choice.lr, "weight_decay": 0.0})

    def step(x: Tensor, labels: Tensor, rows: Tensor) -> dict[str, Tensor]:
        return backward(student, answers.teacher, x, labels, choice, answers.known(rows))

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
    return fit(stage, student, own, groups, schedule, task, student.spec, step, judge, run, fade)


class Answers:
    """A teacher's activations and logits for training pictures.

    Where training shows every picture unvaried, and they fit into the memory that the recipe allows, they are computed once.

    Attributes:
        teacher: its norms folded, for pictures whose answers are not known.
    """

    def __init__(self, teacher: Backbone, split: Split, run: Run) -> None:
        self.teacher = teacher.frozen_copy()
        self._known: list[Tensor] = []
        size = sum(math.prod(shape) for shape in teacher.shapes)
        if is_varied(run.variation) or 4 * size * len(split) > run.variation.memory_gib * 2**30:
            return
        with torch.no_grad(), run.autocast():
            batches = [self.teacher.activations(x) for x, _ in evaluation_batches(split, teacher.spec, run.device)]
        self._known = [torch.cat(layer) for layer in zip(*batches, strict=True)]

    def known(self, rows: Tensor) -> list[Tensor] | None:
        """x_0..x_L and the logits of some pictures of the split, or None."""
        return [layer[rows.to(layer.device)] for layer in self._known] or None


class Fade:
    """Fades out, while a student trains, every path that is not in a graph, and then cuts it.

    Args:
        left: what stays.
        epochs: how long the fading takes; 0 is at once.
        val: where accuracy is measured just before and just after the cut.
    """

    def __init__(self, student: TailoredNet, left: BlockGraph, epochs: float, val: Split) -> None:
        self.memory: dict[str, float] = {}
        self._student, self._left, self._epochs, self._val = student, left, epochs, val
        kept = set(left.paths)
        self._gone = [path for path in student.live_paths() if path not in kept]

    @property
    def is_over(self) -> bool:
        """Whether there is nothing left to fade."""
        return not self._gone or "after_cut" in self.memory

    def __call__(self, epoch: float) -> None:
        """Set the fades `epoch` epochs after the training began."""
        if self.is_over:
            return
        if epoch < self._epochs:
            for path in self._gone:
                self._student.gates.fade[path.place] = (1 - epoch / self._epochs) ** 2  # the last step is the smallest
            return
        self.memory["before_cut"] = accuracy(self._student, self._val)
        self._student.keep(self._left.paths)
        self.memory["after_cut"] = accuracy(self._student, self._val)


def live_parameters(student: TailoredNet) -> list[torch.nn.Parameter]:
    """What trains in a student, gates excepted: stem norms, live layers and the classifier."""
    found = [p for p in student.stem.parameters() if p.requires_grad]
    for layer in range(1, student.depth + 1):
        found += student.layer_parameters(layer)
    return found + classifier_parameters(student)
