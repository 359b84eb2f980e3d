"""Early stopping: when a stage ends, which pass it goes back to, and that an interruption changes neither."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from nettailor.data.task import Task
from nettailor.training.checkpoint import Checkpoints
from nettailor.training.config import TrainingConfig
from nettailor.training.early_stopping import BestPass
from nettailor.training.run import Run
from tests.nettailor.training.conftest import Steps, Stopped, fit_small, same_bits, small_net

VALUES = (0.5, 0.7, 0.6, 0.7, 0.9, 0.9)


def accuracies(epoch: int) -> float:
    return VALUES[epoch - 1]


def test_the_best_pass_is_the_first_of_equals() -> None:
    best, tensor = BestPass(2), torch.zeros(1)
    for epoch, value in enumerate(VALUES[:4], 1):
        tensor.fill_(epoch)
        best.see(epoch, {"val_accuracy": value}, {"w": tensor})
        assert best.is_enough == (epoch == 4)
    assert (best.epoch, best.misses, best.metrics) == (2, 2, {"val_accuracy": 0.7})
    assert best.tensors == {"w": torch.tensor([2.0])}


@pytest.mark.parametrize(("stop_after", "epochs", "kept"), [(0, 6, 6), (1, 3, 2), (2, 4, 2), (3, 6, 5)])
def test_a_stage_ends_when_passes_do_not_help_and_goes_back_to_the_best(
    task: Task, stop_after: int, epochs: int, kept: int
) -> None:
    net, after = small_net(), {}

    def value(epoch: int) -> float:
        after[epoch] = nn.utils.parameters_to_vector(net.parameters()).detach().clone()
        return accuracies(epoch)

    run = Run(training=TrainingConfig(stop_after=stop_after))
    _, fitted = fit_small(task, run, net, value, epochs=6)
    assert (len(after), fitted.epochs) == (epochs, epochs)
    assert fitted.metrics == {"val_accuracy": VALUES[kept - 1]}
    assert torch.equal(nn.utils.parameters_to_vector(net.parameters()), after[kept])
    assert run.fitted["small"] is fitted


def test_passes_while_paths_fade_out_are_not_gone_back_to(task: Task) -> None:
    """The best pass, number 2, is one whose net is still changing: misses count from pass 3 on."""
    run = Run(training=TrainingConfig(stop_after=1))
    _, fitted = fit_small(task, run, values=accuracies, before_step=Steps(over_at=2.0), epochs=6)
    assert fitted.epochs == 6
    assert fitted.metrics == {"val_accuracy": 0.9}
    _, fitted = fit_small(task, run, values=accuracies, before_step=Steps(over_at=99.0), epochs=4)
    assert (fitted.epochs, fitted.metrics) == (4, {"val_accuracy": 0.7})


@pytest.mark.parametrize("ema", [0.0, 0.8])
@pytest.mark.parametrize("kill", [1, 2, 3, 4])
def test_a_stage_that_is_interrupted_ends_like_one_that_is_not(
    task: Task, tmp_path: Path, ema: float, kill: int
) -> None:
    config = TrainingConfig(stop_after=2, ema=ema)
    expected, _ = fit_small(task, Run(training=config), small_net(norm=True), accuracies, epochs=6)

    def killed(epoch: int) -> float:
        if epoch == kill:
            raise Stopped
        return accuracies(epoch)

    run = Run(training=config, checkpoints=Checkpoints(tmp_path))
    with pytest.raises(Stopped):
        fit_small(task, run, small_net(norm=True), killed, epochs=6)
    found, fitted = fit_small(task, run, small_net(norm=True), accuracies, epochs=6)
    assert same_bits(found, expected)
    assert (fitted.epochs, fitted.metrics) == (4, {"val_accuracy": 0.7})
    again, fitted = fit_small(task, run, small_net(norm=True), killed, epochs=6)
    assert same_bits(again, expected), "it is over, though it has not run all its passes"
    assert (fitted.epochs, fitted.metrics) == (4, {"val_accuracy": 0.7})


def test_the_user_is_told(task: Task, capsys: pytest.CaptureFixture[str]) -> None:
    from nettailor.progress import Display

    fit_small(task, Run(training=TrainingConfig(stop_after=2), display=Display()), values=accuracies, epochs=6)
    assert "small      stopped after 4 of 6 epochs; the best was 2" in capsys.readouterr().out
    fit_small(task, Run(display=Display()), values=accuracies, epochs=6)
    assert "stopped" not in capsys.readouterr().out
