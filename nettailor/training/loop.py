"""The training loop that every stage shares: epochs, schedule, checkpoints, progress, figures.

    step(x, y) leaves gradients -> optimiser -> ... -> evaluate on the validation split -> checkpoint -> next epoch

An epoch's order, augmentation, mixing and dropout are seeded by (seed, stage, epoch), and the net, its average, the
optimiser, the best pass and the figures of all epochs so far are in the checkpoint; so a stage that was interrupted goes on
as if it had not been. A stage ends with the average of the weights where one is kept, and with the best pass where training
may stop early (`TrainingConfig`).
"""

from __future__ import annotations

import math
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from blocks import Backbone, CompactNet, InputSpec, TailoredNet
from blocks.shallow import ShallowNet
from nettailor.data.batches import epoch_generator, evaluation_batches, steps_per_epoch, training_batches
from nettailor.data.task import Split, Task
from nettailor.errors import TrainingError
from nettailor.training.averaging import WeightAverage
from nettailor.training.checkpoint import optimizer_tensors, restore, restore_optimizer
from nettailor.training.early_stopping import BestPass
from nettailor.training.losses import Step
from nettailor.training.mixing import mixed
from nettailor.training.optimizers import make_optimizer, step_factor
from nettailor.training.run import BeforeStep, Fitted, Run

WARMUP = 0.1  # of all steps
FEWEST_STEPS = 8  # of a pass, whatever the batch: few pictures in large batches would be too few steps
SMALLEST_BATCH = 16
LARGEST_GRADIENT = 5.0  # norm; a first step through fresh proxies can be far larger than any later one

Fixed = Callable[[int, torch.Generator], Iterator[tuple[Tensor, Tensor, Tensor]]]
"""Gives the batches of an epoch, of a size and in the order of a generator."""


@dataclass(frozen=True)
class Schedule:
    """How long and how fast: warm-up over a tenth of the steps, then a cosine down to zero."""

    epochs: int
    batch: int

    def batch_of(self, pictures: int) -> int:
        """Pictures in a step: `batch`, or fewer where a pass over `pictures` would be of too few steps."""
        return min(self.batch, max(SMALLEST_BATCH, pictures // FEWEST_STEPS))

    def steps_of(self, pictures: int, accumulate: int = 1) -> int:
        """Optimiser steps of a pass over `pictures`, where `accumulate` batches make one."""
        return math.ceil(max(1, pictures // self.batch_of(pictures)) / accumulate)

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
    fixed: Fixed | None = None,
) -> Fitted:
    """Train `net` as `run.training` says.

    Args:
        stage: name of the checkpoint, of the figures, and the seed's second part.
        own: the tensors of `net` that this stage may change; they are saved and restored.
        groups: parameter groups with their peak learning rates.
        evaluate: called with the number of epochs done; returns metrics by name, `val_accuracy` among them where training may
            stop early.
        before_step: called before every optimiser step with the number of epochs done so far, with fractions; its memory is
            kept with the checkpoint.
        fixed: gives the batches, in place of newly augmented ones.

    Raises:
        TrainingError: a gradient is not finite; the checkpoint of the last whole epoch stays.
    """
    batch = schedule.batch_of(len(task.train))
    steps = steps_per_epoch(task.train, batch)
    state = _State(stage, own, run, {} if before_step is None else before_step.memory)
    stepper = _Stepper(stage, net, groups, schedule, steps, step, run, before_step, state.average)
    over = state.resume(stepper.optimizer, schedule.epochs)
    done = state.fitted.epochs
    run.recorder.begin(stage, done, stepper.steps)
    if over:
        run.fitted[stage] = state.fitted
        return state.fitted
    with run.display.stage(stage, schedule.epochs, done, steps) as shown:
        for epoch in range(done, schedule.epochs):
            start = time.perf_counter()
            net.train()
            batches = _batches_of_epoch(stage, epoch, batch, task, spec, run, fixed)
            losses = stepper.epoch(epoch, mixed(batches, run.training, len(task.classes)), shown.step)
            with state.averaged():
                metrics = evaluate(epoch + 1)
                over = state.see(metrics, before_step is None or before_step.is_over) or epoch + 1 == schedule.epochs
            if over:
                state.finish()
            state.fitted.seconds += time.perf_counter() - start
            run.recorder.passed(stage, epoch + 1, losses, metrics, over)
            state.save(stepper.optimizer, over)
            shown.epoch(epoch + 1, losses, metrics)
            if over:
                break
    state.say_if_stopped(schedule.epochs)
    run.fitted[stage] = state.fitted
    return state.fitted


def _batches_of_epoch(
    stage: str, epoch: int, batch: int, task: Task, spec: InputSpec, run: Run, fixed: Fixed | None
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """The batches of one epoch; torch's own random numbers, such as those of dropout, begin anew with each."""
    generator = epoch_generator(run.seed, stage, epoch)
    torch.manual_seed(int(torch.randint(2**31, (1,), generator=generator)))
    if fixed is not None:
        return fixed(batch, generator)
    return training_batches(task.train, run.augmentation, spec, batch, generator, run.device)


class _State:
    """What a stage has come to, in the net and in the checkpoint.

    Args:
        own: the tensors of the net that the stage may change.
        memory: of what happens while it trains (`BeforeStep`).
    """

    def __init__(self, stage: str, own: dict[str, Tensor], run: Run, memory: dict[str, float]) -> None:
        config = run.training
        self.fitted = Fitted({}, 0.0)
        self.average = WeightAverage(own, config.ema) if config.ema else None
        self.best = BestPass(config.stop_after) if config.stop_after else None
        self._stage, self._own, self._run, self._memory = stage, own, run, memory

    def resume(self, optimizer: torch.optim.Optimizer, epochs: int) -> bool:
        """Put the stage's checkpoint, if there is one, into net, optimiser and memory; returns whether the stage is over."""
        kept = self._run.checkpoints.load(self._stage)
        if kept is None:
            return epochs == 0
        tensors, notes = kept
        where = f"checkpoint of {self._stage}"
        restore(self._own, _part(tensors, "net."), where)
        self._memory.update(notes["memory"])
        metrics = notes["metrics"] if "metrics" in notes else notes["judged"]  # as 0.1.0 called them
        self.fitted = Fitted(metrics, notes["seconds"], notes["epoch"])
        if notes.get("over", notes["epoch"] >= epochs):
            return True
        restore_optimizer(optimizer, _part(tensors, "optimizer."))
        if self.average is not None:
            restore(self.average.tensors, _part(tensors, "average."), where)
        if self.best is not None:
            self.best = BestPass(self.best.stop_after, **notes["best"], tensors=_part(tensors, "best."))
        return False

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """Inside, the net has the average of its weights, where one is kept."""
        if self.average is not None:
            self.average.swap()
        try:
            yield
        finally:
            if self.average is not None:
                self.average.swap()

    def see(self, metrics: dict[str, float], settled: bool) -> bool:
        """Take in a pass; returns whether it is the last because none was better for long enough.

        Args:
            settled: whether the net is one to go back to.
        """
        self.fitted.metrics = metrics
        self.fitted.epochs += 1
        if self.best is None or not settled:
            return False
        self.best.see(self.fitted.epochs, metrics, self._own)
        return self.best.is_enough

    def finish(self) -> None:
        """Put into the net what the stage ends with."""
        if self.best is not None and self.best.epoch:
            restore(self._own, self.best.tensors, self._stage)
            self.fitted.metrics = self.best.metrics
        elif self.average is not None:
            self.average.swap()

    def save(self, optimizer: torch.optim.Optimizer, over: bool) -> None:
        """Replace the checkpoint; what only a stage that goes on needs is left out of the last."""
        tensors = {f"net.{name}": tensor for name, tensor in self._own.items()}
        tensors |= {f"optimizer.{name}": tensor for name, tensor in optimizer_tensors(optimizer).items()}
        fitted = self.fitted
        notes = {
            "epoch": fitted.epochs,
            "metrics": fitted.metrics,
            "seconds": fitted.seconds,
            "memory": self._memory,
            "over": over,
        }
        if self.average is not None and not over:
            tensors |= {f"average.{name}": tensor for name, tensor in self.average.tensors.items()}
        if self.best is not None and not over:
            tensors |= {f"best.{name}": tensor for name, tensor in self.best.tensors.items()}
            notes["best"] = self.best.notes()
        self._run.checkpoints.save(self._stage, tensors, notes)
        self._run.seconds.write()

    def say_if_stopped(self, epochs: int) -> None:
        """Tell that a stage ended early."""
        if self.best is not None and self.fitted.epochs < epochs:
            said = f"stopped after {self.fitted.epochs} of {epochs} epochs; the best was {self.best.epoch}"
            self._run.display.say(f"{self._stage:<10} {said}")


class _Stepper:
    """The steps of a stage: schedule, gradients, clipping, optimiser, average."""

    def __init__(
        self,
        stage: str,
        net: nn.Module,
        groups: list[dict[str, Any]],
        schedule: Schedule,
        batches: int,
        step: Step,
        run: Run,
        before_step: BeforeStep | None,
        average: WeightAverage | None,
    ) -> None:
        self.optimizer = make_optimizer(groups, run.training)
        self._batches, self._together = batches, run.training.accumulate
        self.steps = math.ceil(batches / self._together)
        self._peaks = [group["lr"] for group in self.optimizer.param_groups]
        self._trained = [parameter for group in groups for parameter in group["params"]]
        self._stage, self._net, self._schedule = stage, net, schedule
        self._step, self._run, self._before_step, self._average = step, run, before_step, average

    def epoch(
        self,
        epoch: int,
        batches: Iterable[tuple[Tensor, Tensor, Tensor]],
        show: Callable[[dict[str, float]], None],
    ) -> dict[str, float]:
        """One pass over the batches; returns the mean loss terms."""
        sums: dict[str, float] = defaultdict(float)
        for index, (x, labels, rows) in enumerate(batches):
            place = index % self._together
            number = epoch * self.steps + index // self._together
            if place == 0:
                self._begin(number)
            with self._run.autocast():
                terms = self._step(x, labels, rows)
            if place + 1 == self._together or index + 1 == self._batches:
                self._end(epoch, number, place + 1)
            losses = {name: float(term) for name, term in terms.items()}
            for name, value in losses.items():
                sums[name] += value / self._batches
            show(losses)
        return dict(sums)

    def _begin(self, number: int) -> None:
        """Before the first batch of optimiser step `number` of the stage."""
        for group, peak in zip(self.optimizer.param_groups, self._peaks, strict=True):
            group["lr"] = peak * self._factor(number, self._schedule.epochs * self.steps)
        if self._before_step is not None:
            self._before_step(number / self.steps)
        self.optimizer.zero_grad()

    def _end(self, epoch: int, number: int, count: int) -> None:
        """Step along the mean of the gradients of `count` batches."""
        if count > 1:
            for parameter in self._trained:
                if parameter.grad is not None:
                    parameter.grad /= count
        norm = nn.utils.clip_grad_norm_(self._trained, LARGEST_GRADIENT)
        if not torch.isfinite(norm):
            raise TrainingError(
                f"{self._stage}: the gradient is not finite in epoch {epoch + 1}; "
                f"lower its learning rate (section.lr=...), or set machine.precision=float32"
            )
        self.optimizer.step()
        if self._average is not None:
            self._average.update(number)

    def _factor(self, step: int, steps: int) -> float:
        """The learning rates' factor at one of `steps` optimiser steps."""
        config = self._run.training
        if config.schedule == "cosine":
            return self._schedule.factor(step, steps)
        return step_factor(config, step, steps) if config.schedule == "step" else 1.0


@torch.no_grad()
def predictions(net: Backbone | TailoredNet | CompactNet | ShallowNet, split: Split) -> Tensor:
    """The class (N,) that a net in eval mode gives each picture of a split, in the split's order, on the CPU.

    It is computed where the net is; its mode is put back.
    """
    return answers(net, split).argmax(1)


@torch.no_grad()
def answers(net: Backbone | TailoredNet | CompactNet | ShallowNet, split: Split) -> Tensor:
    """The logits (N, classes) of a net in eval mode, as `predictions`."""
    device = next(net.parameters()).device
    training = net.training
    net.eval()
    found = [net(x) for x, _ in evaluation_batches(split, net.spec, device)]
    net.train(training)
    return torch.cat(found).cpu()


def accuracy(net: Backbone | TailoredNet | CompactNet | ShallowNet, split: Split) -> float:
    """Top-1 accuracy of a net in eval mode, as a fraction, where the net is; its mode is put back."""
    return int((predictions(net, split) == split.labels).sum()) / len(split)


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
