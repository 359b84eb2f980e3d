"""The training loop that every stage shares: epochs, schedule, checkpoints, progress, scalars.

    step(x, y) leaves gradients -> optimiser -> ... -> evaluate on the validation split -> checkpoint -> next epoch

An epoch's order, augmentation and dropout are seeded by (seed, stage, epoch), and the net, the optimiser and the figures of
all epochs so far are in the checkpoint; so a stage that was interrupted goes on as if it had not been.
"""

from __future__ import annotations

import math
import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from blocks import Backbone, CompactNet, InputSpec, TailoredNet
from blocks.shallow import ShallowNet
from nettailor.data.batches import epoch_generator, evaluation_batches, steps_per_epoch, training_batches
from nettailor.data.config import DataConfig
from nettailor.data.task import Split, Task
from nettailor.errors import TrainingError
from nettailor.progress import Display
from nettailor.training.checkpoint import Checkpoints, optimizer_tensors, restore, restore_optimizer
from nettailor.training.losses import Step
from nettailor.training.stage_seconds import StageSeconds

WARMUP = 0.1  # of all steps
LARGEST_GRADIENT = 5.0  # norm; a first step through fresh proxies can be far larger than any later one


class Scalars(Protocol):
    """Where figures go, after every epoch: a TensorBoard writer, or nothing."""

    def __call__(self, tag: str, value: float, step: int, /) -> None: ...


def no_scalars(tag: str, value: float, step: int) -> None:
    """Keep no figures."""


class BeforeStep(Protocol):
    """Something that happens while a net trains, such as paths that fade out; `memory` is what it has found so far."""

    memory: dict[str, float]

    def __call__(self, epoch: float, /) -> None: ...


@dataclass
class Fitted:
    """What a stage leaves behind: the metrics of its last epoch, and how long all its epochs took."""

    metrics: dict[str, float]
    seconds: float


def no_text(tag: str, text: str, /) -> None:
    """Keep no text."""


@dataclass
class Run:
    """What stages need beside nets and data. The default keeps nothing, shows nothing and runs on the CPU.

    `fitted` fills with what each stage measured, by the stage's name; `seconds` with where the time went.
    """

    seed: int = 0
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    precision: str = "float32"
    augmentation: DataConfig = field(default_factory=DataConfig)
    checkpoints: Checkpoints = field(default_factory=lambda: Checkpoints(None))
    display: Display = field(default_factory=lambda: Display(quiet=True))
    scalars: Scalars = no_scalars
    write_text: Callable[[str, str], None] = no_text
    fitted: dict[str, Fitted] = field(default_factory=dict)
    seconds: StageSeconds = field(default_factory=StageSeconds)

    def timed(self, stage: str) -> AbstractContextManager[None]:
        """Count the time inside for a stage."""
        return self.seconds.stage(stage)

    def autocast(self) -> AbstractContextManager[Any]:
        """bfloat16 autocast where the recipe wants it."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bfloat16")


@dataclass(frozen=True)
class Schedule:
    """How long and how fast: warm-up over a tenth of the steps, then a cosine down to zero."""

    epochs: int
    batch: int

    def factor(self, step: int, steps: int) -> float:
        """The learning rate's factor at one of `steps` steps."""
        warmup = max(1, round(WARMUP * steps))
        if step < warmup:
            return (step + 1) / warmup
        return 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup)))


def fit(
    stage: str,
    net: nn.Module,
    own: dict[str, Tensor],
    groups: list[dict[str, Any]],
    schedule: Schedule,
    task: Task,
    spec: InputSpec,
    step: Step,
    evaluate: Callable[[int], dict[str, float]],
    run: Run,
    before_step: BeforeStep | None = None,
) -> Fitted:
    """Train `net` with AdamW.

    Args:
        stage: name of the checkpoint, the seed's second part and the figures' prefix.
        own: the tensors of `net` that this stage may change; they are saved and restored.
        groups: parameter groups with their peak learning rates.
        evaluate: called with the number of epochs done; returns metrics by name.
        before_step: called with the number of epochs done so far, with fractions; its memory is kept with the checkpoint.

    Raises:
        TrainingError: a gradient is not finite; the checkpoint of the last whole epoch stays.
    """
    memory = {} if before_step is None else before_step.memory
    stepper = _Stepper(
        stage, net, groups, schedule, steps_per_epoch(task.train, schedule.batch), step, run, before_step
    )
    done, fitted = _resume(stage, own, stepper.optimizer, schedule, memory, run)
    if done >= schedule.epochs:
        run.fitted[stage] = fitted
        return fitted
    with run.display.stage(stage, schedule.epochs, done, stepper.steps) as shown:
        for epoch in range(done, schedule.epochs):
            start = time.perf_counter()
            generator = epoch_generator(run.seed, stage, epoch)
            torch.manual_seed(int(torch.randint(2**31, (1,), generator=generator)))
            net.train()
            batches = training_batches(task.train, run.augmentation, spec, schedule.batch, generator, run.device)
            losses = stepper.epoch(epoch, batches, shown.step)
            fitted.metrics = evaluate(epoch + 1)
            fitted.seconds += time.perf_counter() - start
            _log(run, stage, epoch + 1, losses, fitted.metrics)
            _save(stage, own, stepper.optimizer, fitted, epoch + 1, memory, run)
            shown.epoch(epoch + 1, losses, fitted.metrics)
    run.fitted[stage] = fitted
    return fitted


def _resume(
    stage: str,
    own: dict[str, Tensor],
    optimizer: torch.optim.Optimizer,
    schedule: Schedule,
    memory: dict[str, float],
    run: Run,
) -> tuple[int, Fitted]:
    """Put the stage's checkpoint into net, optimiser and memory; returns the epochs done and what they measured."""
    kept = run.checkpoints.load(stage)
    if kept is None:
        return 0, Fitted({}, 0.0)
    tensors, notes = kept
    restore(own, _part(tensors, "net."), f"checkpoint of {stage}")
    memory.update(notes["memory"])
    if notes["epoch"] < schedule.epochs:
        restore_optimizer(optimizer, _part(tensors, "optimizer."))
    metrics = notes["metrics"] if "metrics" in notes else notes["judged"]  # as 0.1.0 called them
    return notes["epoch"], Fitted(metrics, notes["seconds"])


def _save(
    stage: str,
    own: dict[str, Tensor],
    optimizer: torch.optim.Optimizer,
    fitted: Fitted,
    epoch: int,
    memory: dict[str, float],
    run: Run,
) -> None:
    state = {f"net.{name}": tensor for name, tensor in own.items()}
    state |= {f"optimizer.{name}": tensor for name, tensor in optimizer_tensors(optimizer).items()}
    notes = {"epoch": epoch, "metrics": fitted.metrics, "seconds": fitted.seconds, "memory": memory}
    run.checkpoints.save(stage, state, notes)
    run.seconds.write()


class _Stepper:
    """The steps of a stage: schedule, gradients, clipping, optimiser."""

    def __init__(
        self,
        stage: str,
        net: nn.Module,
        groups: list[dict[str, Any]],
        schedule: Schedule,
        steps: int,
        step: Step,
        run: Run,
        before_step: BeforeStep | None,
    ) -> None:
        self.optimizer = torch.optim.AdamW(groups)
        self.steps = steps
        self._peaks = [group["lr"] for group in self.optimizer.param_groups]
        self._trained = [parameter for group in groups for parameter in group["params"]]
        self._stage, self._net, self._schedule = stage, net, schedule
        self._step, self._run, self._before_step = step, run, before_step

    def epoch(
        self,
        epoch: int,
        batches: Iterable[tuple[Tensor, Tensor, Tensor]],
        show: Callable[[dict[str, float]], None],
    ) -> dict[str, float]:
        """One pass over the batches; returns the mean loss terms."""
        sums: dict[str, float] = defaultdict(float)
        for index, (x, labels, rows) in enumerate(batches):
            number = epoch * self.steps + index
            for group, peak in zip(self.optimizer.param_groups, self._peaks, strict=True):
                group["lr"] = peak * self._schedule.factor(number, self._schedule.epochs * self.steps)
            if self._before_step is not None:
                self._before_step(number / self.steps)
            self.optimizer.zero_grad()
            with self._run.autocast():
                terms = self._step(x, labels, rows)
            norm = nn.utils.clip_grad_norm_(self._trained, LARGEST_GRADIENT)
            if not torch.isfinite(norm):
                raise TrainingError(
                    f"{self._stage}: the gradient is not finite in epoch {epoch + 1}; "
                    f"lower its learning rate (section.lr=...), or set machine.precision=float32"
                )
            self.optimizer.step()
            losses = {name: float(term) for name, term in terms.items()}
            for name, value in losses.items():
                sums[name] += value / self.steps
            show(losses)
        return dict(sums)


@torch.no_grad()
def accuracy(net: Backbone | TailoredNet | CompactNet | ShallowNet, split: Split) -> float:
    """Top-1 accuracy of a net in eval mode, as a fraction, where the net is; its mode is put back."""
    device = next(net.parameters()).device
    training = net.training
    net.eval()
    hits = 0
    for x, labels in evaluation_batches(split, net.spec, device):
        hits += int((net(x).argmax(1) == labels).sum())
    net.train(training)
    return hits / len(split)


def parameter_groups(parameters: list[nn.Parameter], lr: float, weight_decay: float) -> list[dict[str, Any]]:
    """Two parameter groups: weights with weight decay, vectors (biases, norms) without."""
    weights = [p for p in parameters if p.ndim > 1]
    vectors = [p for p in parameters if p.ndim <= 1]
    groups = [
        {"params": weights, "lr": lr, "weight_decay": weight_decay},
        {"params": vectors, "lr": lr, "weight_decay": 0.0},
    ]
    return [group for group in groups if group["params"]]


def _part(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name[len(prefix) :]: tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def _log(run: Run, stage: str, epoch: int, losses: dict[str, float], metrics: dict[str, float]) -> None:
    for name, value in losses.items():
        run.scalars(f"{stage}/loss/{name}", value, epoch)
    for name, value in metrics.items():
        run.scalars(f"{stage}/{name}", value, epoch)
