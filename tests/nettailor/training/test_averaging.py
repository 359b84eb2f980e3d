"""The moving average of the weights: its formula, what is averaged, and that it is what a stage ends with."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from timm.utils import ModelEmaV3
from torch import nn

from blocks import Backbone, Plan, TailoredNet
from blocks.counting import tensors_of
from nettailor.data.task import Task
from nettailor.training.averaging import WeightAverage
from nettailor.training.checkpoint import Checkpoints
from nettailor.training.config import TrainingConfig
from nettailor.training.run import Run
from tests.nettailor.training.conftest import fit_small, same_bits, small_net


@pytest.fixture(autouse=True)
def _any_number_of_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """A pass of 48 pictures may be a single step here."""
    monkeypatch.setattr("nettailor.training.loop.FEWEST_STEPS", 1)


@pytest.mark.parametrize("decay", [0.3, 0.999])
def test_it_is_timms_average_with_its_warm_up(decay: float) -> None:
    net = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3))
    ours, theirs = WeightAverage(tensors_of(net), decay), ModelEmaV3(net, decay, use_warmup=True)
    for step in range(6):
        net(torch.randn(8, 4))  # moves the norm's statistics
        with torch.no_grad():
            for parameter in net.parameters():
                parameter += torch.randn_like(parameter)
        ours.update(step)
        theirs.update(net, step + 1)
    wanted = theirs.module.state_dict()
    assert set(ours.tensors) == set(wanted) - {"1.num_batches_tracked"}
    for name, tensor in ours.tensors.items():
        assert torch.allclose(tensor, wanted[name], atol=1e-6), name
        assert not torch.allclose(tensor, net.state_dict()[name], atol=1e-3), name


def test_fades_of_removed_paths_have_no_average(backbone: Backbone) -> None:
    student = TailoredNet(backbone, 4, Plan(skips=1))
    own = student.task_tensors()
    average = WeightAverage(own, 0.9)
    assert set(own) - set(average.tensors) == {"gates.fade"}


def test_swapping_twice_puts_the_same_bits_back() -> None:
    net = small_net()
    average = WeightAverage(tensors_of(net), 0.9)
    start = {name: tensor.detach().clone() for name, tensor in tensors_of(net).items()}
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.mul_(1.1)
    trained = {name: tensor.detach().clone() for name, tensor in tensors_of(net).items()}
    average.swap()
    assert all(torch.equal(tensor, start[name]) for name, tensor in tensors_of(net).items())
    average.swap()
    assert all(torch.equal(tensor, trained[name]) for name, tensor in tensors_of(net).items())


def test_what_is_evaluated_and_kept_is_the_average_and_what_trains_is_not(task: Task, tmp_path: Path) -> None:
    """One step a pass: a run without the average has the same weights, from which it is reckoned by hand."""
    weights: list[torch.Tensor] = []
    plain = small_net()
    last = fit_small(task, Run(), plain, lambda _: weights.append(_vector(plain)) or 0.5, epochs=4, batch=48)[0]
    expected = weights[0]  # the first average is of one step
    for step in range(1, 4):
        decay = min(0.5, 1 - (1 + step) ** (-2 / 3))
        expected = decay * expected + (1 - decay) * weights[step]
    evaluated: list[torch.Tensor] = []
    net = small_net()
    run = Run(training=TrainingConfig(ema=0.5), checkpoints=Checkpoints(tmp_path))
    fit_small(task, run, net, lambda _: evaluated.append(_vector(net)) or 0.5, epochs=4, batch=48)
    assert torch.allclose(_vector(net), expected, atol=1e-6)
    assert torch.equal(evaluated[-1], _vector(net))
    assert not torch.allclose(expected, _vector(last), atol=1e-3)
    again, fitted = fit_small(task, run, small_net(), epochs=4, batch=48)
    assert same_bits(again, net), "a finished stage's checkpoint is its result"
    assert fitted.epochs == 4
    kept = Checkpoints(tmp_path).load("small")
    assert kept is not None
    assert not [name for name in kept[0] if name.startswith("average.")]


def _vector(net: nn.Module) -> torch.Tensor:
    return nn.utils.parameters_to_vector(net.parameters()).detach().clone()
