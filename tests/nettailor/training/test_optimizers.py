"""Optimisers, schedules and accumulation: each setting acts as it says."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from nettailor.data.task import Task
from nettailor.training.checkpoint import Checkpoints, optimizer_tensors, restore_optimizer
from nettailor.training.config import TrainingConfig
from nettailor.training.loop import parameter_groups
from nettailor.training.optimizers import make_optimizer, step_factor
from nettailor.training.run import Run
from tests.nettailor.training.conftest import STILL, Steps, Stopping, fit_small, same_bits, small_net

CONSTANT_SGD = {"optimizer": "sgd", "momentum": 0.0, "schedule": "constant"}


@pytest.fixture(autouse=True)
def _any_number_of_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """A pass of 48 pictures may be a single step here."""
    monkeypatch.setattr("nettailor.training.loop.FEWEST_STEPS", 1)


def run_of(**settings: object) -> Run:
    return Run(augmentation=STILL, training=TrainingConfig(**settings))  # type: ignore[arg-type]


def test_an_optimiser_is_the_one_that_is_named_with_its_momentum_and_the_groups_rates() -> None:
    net = nn.Linear(3, 2)
    groups = parameter_groups(list(net.parameters()), 0.1, 0.02)
    adamw = make_optimizer([dict(group) for group in groups], TrainingConfig())
    assert type(adamw) is torch.optim.AdamW
    sgd = make_optimizer(groups, TrainingConfig(optimizer="sgd", momentum=0.8))
    assert type(sgd) is torch.optim.SGD
    found = [(group["lr"], group["weight_decay"], group["momentum"], group["nesterov"]) for group in sgd.param_groups]
    assert found == [(0.1, 0.02, 0.8, False), (0.1, 0.0, 0.8, False)]


def test_sgd_without_momentum_has_nothing_to_keep_and_goes_on() -> None:
    weight = nn.Parameter(torch.ones(2, 2))
    optimizer = make_optimizer([{"params": [weight], "lr": 0.1}], TrainingConfig(optimizer="sgd", momentum=0.0))
    (weight**2).sum().backward()
    optimizer.step()
    optimizer.state[weight]["momentum_buffer"] = None  # as some versions of torch leave it
    assert optimizer_tensors(optimizer) == {}
    restore_optimizer(optimizer, {})
    optimizer.step()
    assert torch.allclose(weight, torch.full((2, 2), 0.6))


def test_sgd_steps_along_the_gradient(task: Task) -> None:
    start = small_net()
    seen: list[tuple[torch.Tensor, torch.Tensor]] = []
    net, _ = fit_small(task, run_of(**CONSTANT_SGD), epochs=1, batch=48, seen=seen)
    ((x, labels),) = seen
    nn.functional.cross_entropy(start(x), labels).backward()
    for before, after in zip(start.parameters(), net.parameters(), strict=True):
        assert torch.allclose(after, before - 0.05 * before.grad, atol=1e-6)  # type: ignore[operator]
    adamw, _ = fit_small(task, run_of(schedule="constant"), epochs=1, batch=48)
    with_momentum = [
        fit_small(task, run_of(optimizer="sgd", schedule="constant", momentum=part))[0] for part in (0.0, 0.9)
    ]
    assert not same_bits(adamw, net)
    assert not same_bits(*with_momentum)


def test_rates_go_down_in_steps_or_stay(task: Task) -> None:
    config = TrainingConfig(schedule="step", steps_at=(0.5, 0.75), step_factor=0.1)
    factors = [step_factor(config, step, 8) for step in range(8)]
    assert factors == pytest.approx([1, 1, 1, 1, 0.1, 0.1, 0.01, 0.01])
    assert step_factor(TrainingConfig(schedule="step", steps_at=()), 7, 8) == 1


@pytest.mark.parametrize(
    ("settings", "factors"),
    [
        ({"schedule": "constant"}, [1, 1, 1, 1]),
        ({"schedule": "step", "steps_at": (0.5,), "step_factor": 0.25}, [1, 1, 0.25, 0.25]),
        ({"schedule": "step"}, [1, 1, 0.1, 0.01]),
    ],
)
def test_the_loop_trains_with_the_schedule(task: Task, settings: dict[str, object], factors: list[float]) -> None:
    """Steps of SGD are as long as the rate times the gradient, so their lengths give the rates away."""
    net, lengths = small_net(), []
    weights: list[torch.Tensor] = []
    steps = Steps(look=lambda: weights.append(nn.utils.parameters_to_vector(net.parameters()).detach().clone()))
    gradients: list[torch.Tensor] = []
    for parameter in net.parameters():
        parameter.register_post_accumulate_grad_hook(lambda p: gradients.append(p.grad.detach().clone()))  # type: ignore[union-attr]
    run = run_of(optimizer="sgd", momentum=0.0, **settings)
    fit_small(task, run, net, before_step=steps, epochs=4, batch=48)
    steps(4)
    for number in range(4):
        both = torch.cat([gradient.flatten() for gradient in sorted(gradients[2 * number : 2 * number + 2], key=len)])
        lengths.append(float((weights[number + 1] - weights[number]).norm() / both.norm()) / 0.05)
    assert lengths == pytest.approx(factors, rel=1e-2)


def test_a_step_along_three_batches_is_a_step_along_all_their_pictures(task: Task) -> None:
    whole, _ = fit_small(task, run_of(**CONSTANT_SGD), batch=48)
    steps = Steps()
    parts, _ = fit_small(task, run_of(**CONSTANT_SGD, accumulate=3), batch=16, before_step=steps)
    assert steps.times == [0, 1, 2]
    for one, other in zip(whole.parameters(), parts.parameters(), strict=True):
        assert torch.allclose(one, other, atol=1e-5)
    alone, _ = fit_small(task, run_of(**CONSTANT_SGD), batch=16)
    assert not torch.allclose(next(alone.parameters()), next(parts.parameters()), atol=1e-3)


def test_a_group_that_the_epoch_leaves_incomplete_steps_along_its_own_mean(task: Task) -> None:
    """Three batches, two a step: the second step of an epoch is along the third batch alone, and not along half of it."""
    net, steps = small_net(), Steps()
    seen: list[tuple[torch.Tensor, torch.Tensor]] = []
    found, _ = fit_small(task, run_of(**CONSTANT_SGD, accumulate=2), before_step=steps, epochs=2, seen=seen)
    assert steps.times == [0, 0.5, 1, 1.5]
    assert len(seen) == 6
    for group in (seen[:2], seen[2:3], seen[3:5], seen[5:]):
        net.zero_grad()
        x, labels = torch.cat([x for x, _ in group]), torch.cat([labels for _, labels in group])
        nn.functional.cross_entropy(net(x), labels).backward()
        with torch.no_grad():
            for parameter in net.parameters():
                parameter -= 0.05 * parameter.grad
    for one, other in zip(net.parameters(), found.parameters(), strict=True):
        assert torch.allclose(one, other, atol=1e-5)


def test_a_schedule_counts_optimiser_steps_and_not_batches(task: Task, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[int, int]] = []
    monkeypatch.setattr(
        "nettailor.training.loop.Schedule.factor", lambda self, step, steps: (asked.append((step, steps)), 1.0)[1]
    )
    fit_small(task, run_of(accumulate=2), epochs=2)
    assert asked[::2] == asked[1::2] == [(0, 4), (1, 4), (2, 4), (3, 4)], "once for each of two parameter groups"


@pytest.mark.parametrize(
    "settings",
    [
        {"optimizer": "sgd", "schedule": "step"},
        {"optimizer": "sgd", "momentum": 0.0, "accumulate": 2},
        {"accumulate": 2, "ema": 0.9, "mixup": 0.4, "cutmix": 1.0},
    ],
)
def test_every_one_goes_on_to_the_bit(task: Task, tmp_path: Path, settings: dict[str, object]) -> None:
    config = TrainingConfig(**settings)  # type: ignore[arg-type]
    expected, _ = fit_small(task, Run(training=config), small_net(norm=True), epochs=4)
    for seconds in (1, 2):
        stop = Stopping(seconds, KeyboardInterrupt)
        run = Run(training=config, checkpoints=Checkpoints(tmp_path), recorder=stop)
        with pytest.raises(KeyboardInterrupt):
            fit_small(task, run, small_net(norm=True), epochs=4)
    found, fitted = fit_small(
        task, Run(training=config, checkpoints=Checkpoints(tmp_path)), small_net(norm=True), epochs=4
    )
    assert same_bits(found, expected)
    assert fitted.epochs == 4
