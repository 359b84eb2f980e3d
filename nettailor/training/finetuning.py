"""Fine-tuning: a network that is trained from a layer up, towards an objective.

    backbone -> finetune -> teacher                      a copy with a new classifier, from the linear probe if that helps
    new -> search of the rate -> fit -> net = tune       any network whose own tensors are trained

What a network learns from is an `Objective`: the labels alone, or with what else its method keeps beside them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from blocks import Backbone, CompactNet, TailoredNet
from blocks.bn_statistics import adopt_statistics
from blocks.counting import tensors_of
from blocks.shallow import ShallowNet
from blocks.whole import WholeNet
from nettailor.data.batches import sample_batches
from nettailor.data.task import Task
from nettailor.training.checkpoint import restore
from nettailor.training.config import TeacherConfig
from nettailor.training.layerwise import layerwise_groups
from nettailor.training.loop import Schedule, accuracy, fit, parameter_groups
from nettailor.training.losses import Step, label_loss, weights_of_classes
from nettailor.training.probe import Probe, fit_probe
from nettailor.training.rates import keeps_features, losses_on, rates_of, search_rate, settle_by_steps, trial_epochs
from nettailor.training.run import BeforeStep, Fitted, Run

Tuned = TypeVar("Tuned", Backbone, WholeNet)
STAGE = "teacher"
SEEN_FOR_STATISTICS, BATCH = 512, 32  # pictures


@dataclass(frozen=True)
class Tuning:
    """Which layers are trained, and how fast.

    Attributes:
        tuned_from: the first layer that trains, as `blocks.assembly.NetPlan.tuned_from` counts.
        new_lr: factor of the learning rate for what the backbone has not trained.
    """

    tuned_from: int = 0
    new_lr: float = 1.0


@dataclass
class Objective:
    """What a network is trained towards.

    Attributes:
        step: one batch; leaves gradients and returns the loss terms.
        evaluate: metrics of the network after so many passes, beside its accuracy on the validation split.
        beside: modules that are trained with the network and are no part of it; kept in the checkpoints.
        before_step: called before every optimiser step.
        passed: told the number of every pass, and its metrics.
    """

    step: Step
    evaluate: Callable[[int], dict[str, float]] = lambda epoch: {}
    beside: nn.ModuleDict = field(default_factory=nn.ModuleDict)
    before_step: BeforeStep | None = None
    passed: Callable[[int, dict[str, float]], None] = lambda epoch, metrics: None


ObjectiveOf = Callable[[Tuned, Task, TeacherConfig, Run], Objective]
"""Given a fresh network, the settings with the passes that it will be trained for, and the run."""


def labels_alone(net: Backbone | WholeNet, task: Task, config: TeacherConfig, run: Run) -> Objective:
    """Cross entropy."""
    return Objective(_label_step(net, task, run, config.label_smoothing))


def tune(
    stage: str,
    new: Callable[[float], Tuned],
    task: Task,
    config: TeacherConfig,
    run: Run,
    tuning: Tuning | None = None,
    objective: ObjectiveOf[Any] = labels_alone,
    in_trials: Callable[[], Tuned] | None = None,
) -> Tuned:
    """Train a network at the rate that is configured, or the best of a short search; the rate is kept as `run.rate`.

    Args:
        new: a fresh network, given the rate that it is going to be trained at; what is random in it is seeded already.
        in_trials: the same for the search, where rates are to be told apart from one start; left out, `new`.
    """
    chosen = tuning or Tuning()

    def trained(net: Tuned, rate: float, config: TeacherConfig, run: Run) -> Tuned:
        towards = objective(net, task, config, run)
        beside = towards.beside.to(run.device)

        def evaluate(epoch: int) -> dict[str, float]:
            metrics = {"val_accuracy": accuracy(net, task.val), **towards.evaluate(epoch)}
            towards.passed(epoch, metrics)
            return metrics

        groups = tuned_groups(net, rate, config, chosen.new_lr)
        groups += parameter_groups([p for p in beside.parameters() if p.requires_grad], rate, config.weight_decay)
        own = {**tensors_of(net), **{f"beside.{name}": tensor for name, tensor in tensors_of(beside).items()}}
        schedule = Schedule(config.epochs, config.batch)
        fit(stage, net, own, groups, schedule, task, net.spec, towards.step, evaluate, run, towards.before_step)
        return net

    short = trial_epochs(len(task.train), config.batch, run.training.accumulate)
    losses: dict[float, Tensor] = {}

    def trial(rate: float, run: Run) -> float:
        net = trained(new(rate) if in_trials is None else in_trials(), rate, replace(config, epochs=short), run)
        losses[rate] = losses_on(net, task.val, net.spec)
        return float(losses[rate].mean())

    def settle(best: float) -> float:
        return best if in_trials is None else settle_by_steps(best, losses, run.training, many_steps=short == 1)

    if config.lr is None:
        run.rate = search_rate(stage, trial, task, config.batch, run, rates_of(run.training), settle)
    else:
        run.rate = config.lr
    return trained(new(run.rate), run.rate, config, run)


def tuned_groups(
    net: Backbone | WholeNet, rate: float, config: TeacherConfig, new_lr: float = 1.0
) -> list[dict[str, Any]]:
    """Parameter groups of what trains in a network; what the backbone has not trained at `new_lr` times the rate."""
    new = {id(parameter) for parameter in net.new_parameters()} if new_lr != 1 else set()
    groups: list[dict[str, Any]] = []
    for group in layerwise_groups(net, rate, config.weight_decay, config.layer_decay):
        trained = [parameter for parameter in group["params"] if parameter.requires_grad]
        for is_new, factor in ((False, 1.0), (True, new_lr)):
            part = [parameter for parameter in trained if (id(parameter) in new) == is_new]
            groups += [{**group, "params": part, "lr": group["lr"] * factor}] if part else []
    return groups


def adopt_statistics_of(task: Task, net: Backbone | TailoredNet, run: Run) -> None:
    """Give the norms that a net trains the statistics of a task's training pictures; it goes on computing what it did."""
    adopt_statistics(net, sample_batches(task.train, SEEN_FOR_STATISTICS, run.seed, net.spec, run.device, BATCH))


def finetune(
    backbone: Backbone,
    task: Task,
    config: TeacherConfig | None = None,
    run: Run | None = None,
    tuning: Tuning | None = None,
    objective: ObjectiveOf[Any] = labels_alone,
) -> Backbone:
    """Fine-tune a copy of the backbone on a task, whole or from a layer up; the backbone itself is left as it is.

    It is never worse than a linear probe on the validation split: where training only did harm, the frozen network with the
    probe is what is returned. Where `start` is auto it also begins with that probe, unless the rate is high: then features
    change so much that a classifier of the old ones is in the way. Norms that are trained then adopt the task's statistics
    and go on computing what they did: a first step that normalises by the batch would change what the probe reads.

    The peak rate is kept as `run.rate`. In the search for it all rates begin with the probe, the high one too: after a pass
    or two a network with a fresh classifier is behind by what the probe knows, whatever becomes of it in the end. What short
    trainings can't tell is settled by how many steps follow (`rates.settle_by_steps`).
    """
    config, run = config or TeacherConfig(), run or Run()
    first = (tuning or Tuning()).tuned_from
    probe = _probe_to_begin_with(backbone, task, run) if config.start != "fresh" else None

    def new(with_probe: bool) -> Backbone:
        torch.manual_seed(run.seed)
        net = backbone.teacher(len(task.classes), first).to(run.device)
        if probe is not None and with_probe:
            probe.write(net.head, net.classifier_paths[0])
        return net

    def from_probe() -> Backbone:
        net = new(with_probe=True)
        adopt_statistics_of(task, net, run)
        return net

    def new_at(rate: float) -> Backbone:
        begins_with_probe = probe is not None and (config.start == "probe" or keeps_features(rate, run.training))
        return from_probe() if begins_with_probe else new(with_probe=False)

    in_trials = None if probe is None else from_probe
    teacher = tune(STAGE, new_at, task, config, run, tuning, objective, in_trials)
    if probe is not None:
        _take_probe_if_better(teacher, new(with_probe=True), task, run)
    run.checkpoints.drop("probe")
    return teacher.requires_grad_(False).eval()


def frozen_with_probe(backbone: Backbone, task: Task, config: TeacherConfig, run: Run) -> Backbone:
    """What `finetune` gives where training only does harm, without the training: the backbone with a linear probe.

    Where it can have no probe it is fine-tuned after all.
    """
    probe = _probe_to_begin_with(backbone, task, run)
    if probe is None:
        return finetune(backbone, task, config, run)
    net = backbone.teacher(len(task.classes)).to(run.device)
    probe.write(net.head, net.classifier_paths[0])
    run.fitted[STAGE] = Fitted({"val_accuracy": accuracy(net, task.val)}, 0.0, 1)
    return net.requires_grad_(False).eval()


def _probe_to_begin_with(backbone: Backbone, task: Task, run: Run) -> Probe | None:
    """A linear probe for a teacher that is not there yet; its checkpoint lies there until the teacher is settled."""
    kept = run.checkpoints.load("probe")
    if kept is not None:
        return Probe(kept[0]["weight"], kept[0]["bias"], kept[1]["val_loss"])
    probe = None if run.checkpoints.has("teacher") else fit_probe(backbone, task, run)
    if probe is not None:
        run.checkpoints.save("probe", {"weight": probe.weight, "bias": probe.bias}, {"val_loss": probe.val_loss})
    return probe


def _take_probe_if_better(teacher: Backbone, start: Backbone, task: Task, run: Run) -> None:
    """Make a teacher what it began as, where that is more accurate on the validation split."""
    value, metrics = accuracy(start, task.val), run.fitted["teacher"].metrics
    if value <= metrics["val_accuracy"]:
        return
    run.display.say(
        f"teacher    the linear probe is more accurate on the validation split ({value:.3f}): it is the teacher"
    )
    restore(tensors_of(teacher), tensors_of(start), "teacher")
    metrics["val_accuracy"] = value
    if (kept := run.checkpoints.load("teacher")) is not None:
        beside = {name: tensor for name, tensor in kept[0].items() if name.startswith("net.beside.")}
        tensors = {f"net.{name}": tensor for name, tensor in tensors_of(teacher).items()}
        run.checkpoints.save("teacher", {**beside, **tensors}, {**kept[1], "metrics": metrics})


def fit_to_labels(
    stage: str,
    net: Backbone | TailoredNet | ShallowNet | CompactNet,
    own: dict[str, Tensor],
    groups: list[dict[str, Any]],
    schedule: Schedule,
    task: Task,
    run: Run,
    label_smoothing: float = 0.0,
) -> Fitted:
    """Train a net with cross entropy alone; arguments as those of `loop.fit`."""

    def evaluate(epoch: int) -> dict[str, float]:
        return {"val_accuracy": accuracy(net, task.val)}

    step = _label_step(net, task, run, label_smoothing)
    return fit(stage, net, own, groups, schedule, task, net.spec, step, evaluate, run)


def _label_step(
    net: Backbone | TailoredNet | ShallowNet | CompactNet, task: Task, run: Run, label_smoothing: float
) -> Step:
    weights = class_weights(task, run)

    def step(x: Tensor, labels: Tensor, rows: Tensor) -> dict[str, Tensor]:
        loss = label_loss(net(x), labels, weights, label_smoothing)
        loss.backward()
        return {"ce": loss.detach()}

    return step


def class_weights(task: Task, run: Run) -> Tensor | None:
    """Weights (classes,) of a run's cross entropy where the run is, or None."""
    weights = weights_of_classes(run.training.class_weights, task.train.labels, len(task.classes))
    return None if weights is None else weights.to(run.device)
