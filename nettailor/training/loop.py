"""The training loop that every stage shares: epochs, schedule, checkpoints, progress, scalars.

    step(x, y) leaves gradients -> optimiser -> ... -> judge on the validation split -> checkpoint -> next epoch

An epoch's order, augmentation and dropout are seeded by (seed, stage, epoch), and the net, the optimiser and the figures of
all epochs so far are in the checkpoint; so a stage that was interrupted goes on as if it had not been.
"""

from __future__ import annotations

import math
import time
from collections import defaultdict
from collections.abc import Callable
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
    """What a stage leaves behind: the measurements of its last epoch, and how long all its epochs took."""

    judged: dict[str, float]
    seconds: float


def no_text(tag: str, text: str, /) -> None:
    """Keep no text."""


@dataclass
class Run:
    """What stages need beside nets and data. The default keeps nothing, shows nothing and runs on the CPU.

    `fitted` fills with what each stage measured, by the stage's name.
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
    judge: Callable[[int], dict[str, float]],
    run: Run,
    before_step: BeforeStep | None = None,
) -> Fitted:
    """Train `net` with AdamW.

    Args:
        stage: name of the checkpoint, the seed's second part and the figures' prefix.
        own: the tensors of `net` that this stage may change; they are saved and restored.
        groups: parameter groups with their peak learning rates.
        judge: called with the number of epochs done; returns measurements by name.
        before_step: called with the number of epochs done so far, with fractions; its memory is kept with the checkpoint.

    Raises:
        TrainingError: a gradient is not finite; the checkpoint of the last whole epoch stays.
    """
    optimizer = torch.optim.AdamW(groups)
    peaks = [group["lr"] for group in optimizer.param_groups]
    notes: dict[str, Any] = {"epoch": 0, "judged": {}, "seconds": 0.0}
    memory = {} if before_step is None else before_step.memory
    if (kept := run.checkpoints.load(stage)) is not None:
        tensors, notes = kept
        restore(own, _part(tensors, "net."), f"checkpoint of {stage}")
        memory.update(notes["memory"])
        if notes["epoch"] < schedule.epochs:
            restore_optimizer(optimizer, _part(tensors, "optimizer."))
    done, seconds = notes["epoch"], notes["seconds"]
    if done >= schedule.epochs:
        run.fitted[stage] = Fitted(notes["judged"], seconds)
        return run.fitted[stage]
    judged = notes["judged"]
    steps = steps_per_epoch(task.train, schedule.batch)
    with run.display.stage(stage, schedule.epochs, done, steps) as shown:
        for epoch in range(done, schedule.epochs):
            start = time.perf_counter()
            generator = epoch_generator(run.seed, stage, epoch)
            torch.manual_seed(int(torch.randint(2**31, (1,), generator=generator)))
            net.train()
            sums: dict[str, float] = defaultdict(float)
            batches = training_batches(task.train, run.augmentation, spec, schedule.batch, generator, run.device)
            for index, (x, labels, rows) in enumerate(batches):
                number = epoch * steps + index
                for group, peak in zip(optimizer.param_groups, peaks, strict=True):
                    group["lr"] = peak * schedule.factor(number, schedule.epochs * steps)
                if before_step is not None:
                    before_step(number / steps)
                optimizer.zero_grad()
                with run.autocast():
                    terms = step(x, labels, rows)
                norm = nn.utils.clip_grad_norm_([p for g in groups for p in g["params"]], LARGEST_GRADIENT)
                if not torch.isfinite(norm):
                    raise TrainingError(
                        f"{stage}: the gradient is not finite in epoch {epoch + 1}; "
                        f"lower its learning rate (section.lr=...), or set machine.precision=float32"
                    )
                optimizer.step()
                losses = {name: float(term) for name, term in terms.items()}
                for name, value in losses.items():
                    sums[name] += value / steps
                shown.step(losses)
            judged = judge(epoch + 1)
            seconds += time.perf_counter() - start
            _log(run, stage, epoch + 1, sums, judged)
            notes = {"epoch": epoch + 1, "judged": judged, "seconds": seconds, "memory": memory}
            state = {f"net.{name}": tensor for name, tensor in own.items()}
            state |= {f"optimizer.{name}": tensor for name, tensor in optimizer_tensors(optimizer).items()}
            run.checkpoints.save(stage, state, notes)
            shown.epoch(epoch + 1, dict(sums), judged)
    run.fitted[stage] = Fitted(judged, seconds)
    return run.fitted[stage]


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


def _log(run: Run, stage: str, epoch: int, losses: dict[str, float], judged: dict[str, float]) -> None:
    for name, value in losses.items():
        run.scalars(f"{stage}/loss/{name}", value, epoch)
    for name, value in judged.items():
        run.scalars(f"{stage}/{name}", value, epoch)
