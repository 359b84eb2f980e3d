"""All stages of a run, one behind the other; and a net so small that the loop can be followed by hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from blocks import Backbone, InputSpec
from blocks import Path as GraphPath
from blocks.counting import tensors_of
from nettailor.data.config import DataConfig
from nettailor.data.task import Task
from nettailor.pruning.config import PruneConfig
from nettailor.pruning.prune import prune
from nettailor.training.config import RecoverConfig
from nettailor.training.finetuning import finetune
from nettailor.training.loop import Schedule, accuracy, fit, parameter_groups
from nettailor.training.losses import label_loss
from nettailor.training.recorder import NoRecorder
from nettailor.training.run import BeforeStep, Fitted, Run
from nettailor.training.stages import recover, tailor, train
from tests.nettailor.conftest import STUDENT, TEACHER


def everything(backbone: Backbone, task: Task, run: Run) -> tuple[dict[str, torch.Tensor], list[GraphPath], float]:
    teacher = finetune(backbone, task, TEACHER, run)
    student = tailor(backbone, task, STUDENT, run)
    train(student, teacher, task, STUDENT, run)
    choice = PruneConfig(epochs=2, drop=100, patience=0, shrink=0.75)
    pruned = prune(student, teacher, task, choice, STUDENT, run)
    recover(student, teacher, task, RecoverConfig(epochs=2), STUDENT, run)
    value = accuracy(student, task.test)
    return {n: t.clone() for n, t in student.task_tensors().items()}, pruned.graph.paths, value


class Stopping(NoRecorder):
    """Ends a run like a kill would, at its pass number `after` + 1 in this process, before that is in the checkpoint."""

    def __init__(self, after: int, error: type[BaseException]) -> None:
        self._left, self._error = after, error

    def passed(self, *_: object) -> None:
        self._left -= 1
        if self._left < 0:
            raise self._error


class Terms(NoRecorder):
    """The terms of the loss, by stage."""

    def __init__(self) -> None:
        self.of: dict[str, set[str]] = {}

    def passed(self, stage: str, epoch: int, losses: dict[str, float], *_: object) -> None:
        self.of[stage] = set(losses)


STILL = DataConfig(shift=0, scale=0, rotate=0)
SPEC = InputSpec(16, (0.5,) * 3, (5.0,) * 3)  # small values, so that no gradient is clipped


class Stopped(Exception):
    """A kill in the middle of a stage."""


def small_net(norm: bool = False) -> nn.Module:
    """A linear classifier of 16 px pictures, with a norm before it or without."""
    torch.manual_seed(5)
    layers = [nn.Flatten(), *([nn.BatchNorm1d(3 * 16 * 16)] if norm else []), nn.Linear(3 * 16 * 16, 4)]
    return nn.Sequential(*layers)


def fit_small(
    task: Task,
    run: Run,
    net: nn.Module | None = None,
    values: Callable[[int], float] = lambda epoch: 0.5,
    before_step: BeforeStep | None = None,
    epochs: int = 3,
    batch: int = 16,
    lr: float = 0.05,
    seen: list[tuple[Tensor, Tensor]] | None = None,
) -> tuple[nn.Module, Fitted]:
    """Train a small net on 48 pictures.

    Args:
        values: accuracy by the number of epochs done.
        seen: is filled with the pictures and labels of every step.
    """
    net = net or small_net()

    def step(x: Tensor, labels: Tensor, rows: Tensor) -> dict[str, Tensor]:
        if seen is not None:
            seen.append((x, labels))
        loss = label_loss(net(x), labels)
        loss.backward()
        return {"ce": loss.detach()}

    groups = parameter_groups(list(net.parameters()), lr, 0.0)
    fitted = fit(
        "small",
        net,
        tensors_of(net),
        groups,
        Schedule(epochs, batch),
        task,
        SPEC,
        step,
        lambda epoch: {"val_accuracy": values(epoch)},
        run,
        before_step,
    )
    return net, fitted


def same_bits(one: nn.Module, other: nn.Module) -> bool:
    """Whether two nets hold the same tensors."""
    mine, theirs = tensors_of(one), tensors_of(other)
    return mine.keys() == theirs.keys() and all(torch.equal(mine[name], theirs[name]) for name in mine)


class Steps:
    """Records when it was called, in epochs; `over_at` is the time from which on the net is settled."""

    def __init__(self, over_at: float = 0.0, look: Callable[[], Any] = lambda: None) -> None:
        self.memory: dict[str, float] = {}
        self.times: list[float] = []
        self.found: list[Any] = []
        self._over_at, self._look = over_at, look

    @property
    def is_over(self) -> bool:
        return bool(self.times) and self.times[-1] >= self._over_at

    def __call__(self, epoch: float, /) -> None:
        self.times.append(epoch)
        self.found.append(self._look())
