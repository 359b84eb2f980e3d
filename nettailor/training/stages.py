"""The trainings of a student: what it begins as, its own training, and the recovery of what pruning left.

backbone -> finetune -> teacher (`finetuning`)          backbone -> tailor -> student -> train -> (prune) -> recover
"""

from __future__ import annotations

import math
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor

from blocks import Backbone, Plan, TailoredNet
from blocks.bn_statistics import recalibrate_norms
from blocks.counting import tensors_of
from blocks.inherit import fit_classifier, inherit, is_frozen_backbone
from blocks.memory import map_large_tensors, pictures_at_once
from blocks.teachers import Teacher, gives_activations
from blocks.warm_start import Batches, warm_start
from nettailor.data.batches import evaluation_size, sample_batches
from nettailor.data.task import Task
from nettailor.errors import UsageError
from nettailor.training import passes
from nettailor.training.config import RecoverConfig, StudentConfig, TeacherConfig
from nettailor.training.finetuning import class_weights, fit_to_labels, tuned_groups
from nettailor.training.loop import Schedule, accuracy, fit, parameter_groups
from nettailor.training.losses import (
    backward,
    classifier_parameters,
    expected_complexity,
)
from nettailor.training.proxy_forms import find_form
from nettailor.training.rates import STUDENT_FACTOR, students_teacher_keeps_features, usual_rate
from nettailor.training.run import BeforeStep, Fitted, Run
from nettailor.training.targets import TeacherTargets

BEGUN = "student-begun"
"""Name of the checkpoint of what a student begins with, where something is cut out of that."""
WARM_BATCH = 64
USUAL_MATCHING = 10.0
"""Weight of the matching of activations, as the paper's."""
RIGHT = 0.95
"""A teacher's accuracy on the validation split from which on its activations are not matched unless asked for."""
FEWEST_FOR_STATISTICS = 16  # pictures; statistics of fewer vary too much from batch to batch


def starts_behind_prefix(settings: StudentConfig) -> bool:
    """Whether a student begins as a network of its own and not as its teacher: see `start_for`."""
    return settings.shared_prefix > 0 and settings.start == "teacher"


def start_for(
    student: TailoredNet,
    teacher: Teacher,
    task: Task,
    config: TeacherConfig,
    settings: StudentConfig,
    run: Run,
) -> Teacher:
    """The trained network that a student begins as: its teacher, where nothing of it is shared with other tasks.

    A teacher's later blocks go with what fine-tuning made of its first ones, which a student with a shared prefix can't have.
    For such a one the backbone is fine-tuned behind the prefix on the labels, whatever its teacher is, at the rate and for
    the passes of the teacher: stage `start`.
    """
    shared = settings.shared_prefix
    handed_over = has_begun(run) and not run.checkpoints.has("start")  # by another run
    if handed_over or not starts_behind_prefix(settings):
        return teacher
    torch.manual_seed(run.seed)
    net = student.backbone.teacher(len(task.classes), shared + 1).to(run.device)
    rate = config.lr if config.lr is not None else teacher_rate(run)
    groups, schedule = tuned_groups(net, rate, config), Schedule(config.epochs, config.batch)
    fit_to_labels("start", net, tensors_of(net), groups, schedule, task, run, config.label_smoothing)
    return net.requires_grad_(False).eval()


def tailor(
    backbone: Backbone,
    task: Task,
    config: StudentConfig | None = None,
    run: Run | None = None,
    teacher: Teacher | None = None,
) -> TailoredNet:
    """A fresh student of the backbone for a task.

    Args:
        teacher: what the student begins with, where the config says so; without one it begins as the backbone.
    """
    config, run = config or StudentConfig(), run or Run()
    student = new_student(backbone, task, config, run)
    begin(student, task, config, run, teacher)
    return student


def new_student(backbone: Backbone, task: Task, config: StudentConfig, run: Run) -> TailoredNet:
    """A student that computes what the backbone computes; its proxies and classifier are random.

    Raises:
        UsageError: more blocks are to be shared than the backbone has, or there is no such form of proxy.
    """
    torch.manual_seed(run.seed + 1)
    check_prefix(backbone, config)
    return TailoredNet(backbone, len(task.classes), plan_of(config)).to(run.device)


def check_prefix(backbone: Backbone, config: StudentConfig) -> None:
    """Refuse a shared prefix that is longer than the backbone.

    Raises:
        UsageError: it is.
    """
    if config.shared_prefix > backbone.depth:
        raise UsageError(
            f"student.shared_prefix: is {config.shared_prefix}, but {backbone.name} has {backbone.depth} universal blocks"
        )


def begin(student: TailoredNet, task: Task, config: StudentConfig, run: Run, teacher: Teacher | None = None) -> None:
    """Take over from the teacher what the student can hold of it, and fit its proxies to the blocks beside them.

    Where the teacher's classifier is none for a student, its own is fitted to the teacher's answers to the same pictures.
    """
    if student.keeps_much():
        map_large_tensors()
    if has_begun(run):
        return  # it goes on from there
    answers = teacher if config.start == "teacher" else None
    if answers is not None and inherit(student, answers):
        answers = None  # it has the classifier
    if config.warm_start:
        batches, _ = warm_pictures(student, task, config, run)
        # What the teacher's classifier reads must not change with the statistics, where they are not the task's yet.
        probe = config.start == "teacher" and teacher is not None and is_frozen_backbone(student, teacher)
        warm_start(student, batches, unchanged=probe and config.batch_norm == "affine")
        if answers is not None:
            fit_classifier(student, answers, batches())


def has_begun(run: Run) -> bool:
    """Whether a student of the run has begun already, so that what it began with, or what it was trained to, is kept."""
    return run.checkpoints.has("student") or run.checkpoints.has(BEGUN)


def warm_pictures(student: TailoredNet, task: Task, config: StudentConfig, run: Run) -> tuple[Batches, int]:
    """The training pictures, unvaried, that a student's proxies are fitted on at its start, and how many they are."""
    size = pictures_at_once(student.backbone.shapes, WARM_BATCH, least=FEWEST_FOR_STATISTICS)
    fresh = partial(sample_batches, task.train, config.warm_start, run.seed, student.spec, run.device, size)
    return fresh, min(config.warm_start, len(task.train))


def plan_of(config: StudentConfig) -> Plan:
    """What a recipe's student is made of.

    Raises:
        UsageError: there is no such form of proxy.
    """
    form = find_form(config.proxies)
    return Plan(config.skips, form, config.gates, config.batch_norm, config.rank, shared_prefix=config.shared_prefix)


def train(
    student: TailoredNet, teacher: Teacher, task: Task, config: StudentConfig | None = None, run: Run | None = None
) -> Fitted:
    """Train a student with all terms of the loss."""
    config = config or StudentConfig()
    run = run or Run()
    taught = accuracy(teacher, task.val) if config.epochs is None else 1.0
    epochs = passes.STUDENT.over(len(task.train), config.batch, config.epochs, taught, run.training.accumulate)
    return fit_student("student", student, teacher, task, config, epochs, student_rate(config.lr, run), run)


def teacher_rate(run: Run) -> float:
    """The peak rate that the run's teacher was trained at, or the optimiser's usual one where that says nothing."""
    return run.rate or usual_rate(run.training)


def student_rate(configured: float | None, run: Run) -> float:
    """The peak rate of a student's own tensors: the configured one, or by the rate that was found for the teacher."""
    return configured if configured is not None else STUDENT_FACTOR * teacher_rate(run)


def students_rate_keeps_features(configured: float | None, run: Run) -> bool:
    """Whether a training of a student, at the configured rate or as its teacher's says, keeps pretrained features."""
    return students_teacher_keeps_features(student_rate(configured, run), run.training)


def matching_weight(config: StudentConfig, teacher: Teacher, task: Task, run: Run) -> float:
    """g2, the configured one; or `USUAL_MATCHING` where a low rate keeps pretrained features, so that activations are worth
    keeping too, and the teacher is wrong often enough for its answers not to say all.
    """
    if config.matching_weight is not None:
        return config.matching_weight
    keeps = students_rate_keeps_features(config.lr, run)
    if not keeps or not gives_activations(teacher) or accuracy(teacher, task.val) >= RIGHT:
        return 0.0
    return USUAL_MATCHING


def recover(
    student: TailoredNet,
    teacher: Teacher,
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
    rate, keeps = student_rate(config.lr, run), students_rate_keeps_features(config.lr, run)
    taught = accuracy(teacher, task.val)
    if settings.views is None and not keeps and passes.is_hard(taught):
        settings = replace(settings, views=0)  # few views are soon known by heart
    epochs = config.epochs
    if epochs is None:
        usual, together = passes.of_recovery(keeps), run.training.accumulate
        by = taught if keeps else math.inf  # at a high rate it is long enough for a hard task, too
        epochs = usual.over(len(task.train), settings.batch, taught=by, accumulate=together)
        if not keeps:
            epochs = passes.in_the_time_of_a_lean_one(epochs, student.cost().macs / student.backbone.cost.macs)
    return fit_student(stage, student, teacher, task, settings, epochs, rate, run)


def recalibrate(student: TailoredNet, task: Task, run: Run) -> None:
    """Estimate the statistics of the norms that the task owns anew, on one pass over the training pictures, unvaried.

    In random order: layers are normalised by their batch meanwhile, and one of a single class is not like the pictures.
    """
    size = evaluation_size(student.spec)
    recalibrate_norms(student, sample_batches(task.train, len(task.train), run.seed, student.spec, run.device, size))


def fit_student(
    stage: str,
    student: TailoredNet,
    teacher: Teacher,
    task: Task,
    config: StudentConfig,
    epochs: int,
    lr: float,
    run: Run,
    before_step: BeforeStep | None = None,
) -> Fitted:
    """Train a student for some epochs; the gates' learning rate keeps its ratio to the others'."""
    config = replace(config, matching_weight=matching_weight(config, teacher, task, run))
    targets, weights = TeacherTargets.of(teacher, task.train, config, run), class_weights(task, run)
    trained = live_parameters(student)
    groups = parameter_groups(trained, lr, config.weight_decay)
    groups.append(
        {
            "params": [student.gates.logits],
            "lr": config.gate_lr * lr / student_rate(config.lr, run),
            "weight_decay": 0.0,
        }
    )

    def step(x: Tensor, labels: Tensor, rows: Tensor) -> dict[str, Tensor]:
        return backward(student, targets.teacher, x, labels, config, targets.known(rows), weights)

    def evaluate(epoch: int) -> dict[str, float]:
        run.recorder.gates(stage, epoch, student)
        gates = student.gates().detach()
        return {
            "val_accuracy": accuracy(student, task.val),
            "expected_complexity": float(expected_complexity(student, gates, config.complexity)),
        }

    schedule = Schedule(epochs, config.batch)
    own, batches = student.task_tensors(), targets.batches if targets.has_views else None
    return fit(stage, student, own, groups, schedule, task, student.spec, step, evaluate, run, before_step, batches)


def live_parameters(student: TailoredNet) -> list[torch.nn.Parameter]:
    """What trains in a student, gates excepted: stem norms, live layers and the classifier."""
    found = [p for p in student.stem.parameters() if p.requires_grad]
    for layer in range(1, student.depth + 1):
        found += student.layer_parameters(layer)
    return found + classifier_parameters(student)
