"""The search for a learning rate: what is tried, what is taken, and that it is done once."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch.nn.functional import cross_entropy

from blocks import Backbone
from nettailor.data.batches import evaluation_batches
from nettailor.data.task import Task
from nettailor.errors import TrainingError
from nettailor.progress import Display
from nettailor.training.checkpoint import Checkpoints
from nettailor.training.config import TrainingConfig
from nettailor.training.rates import (
    RATES,
    SGD_RATES,
    constant_loss,
    keeps_features,
    loss_on,
    search_rate,
    settle_by_steps,
    students_teacher_keeps_features,
    trial_epochs,
    usual_rate,
)
from nettailor.training.run import Run
from nettailor.training.stages import student_rate

ADAMW, SGD = TrainingConfig(), TrainingConfig(optimizer="sgd")


def test_the_rate_of_the_least_loss_is_taken_and_kept(task: Task, tmp_path: Path) -> None:
    losses, tried = dict(zip(RATES, (0.7, 0.2, 0.5), strict=True)), []

    def trial(rate: float, run: Run) -> float:
        assert run.checkpoints.folder is None, "a trial leaves nothing"
        tried.append(rate)
        return losses[rate]

    run = Run(checkpoints=Checkpoints(tmp_path))
    assert search_rate("teacher", trial, task, 16, run) == RATES[1]
    epochs = trial_epochs(len(task.train), 16)
    assert run.fitted["teacher-rate"].epochs == epochs * len(RATES), "trials count as passes"
    again = Run(checkpoints=Checkpoints(tmp_path))
    assert search_rate("teacher", trial, task, 16, again) == RATES[1]
    assert tried == list(RATES), "a search that is in the checkpoint is not done again"
    assert again.fitted["teacher-rate"].epochs == epochs * len(RATES)


@pytest.mark.parametrize("bad", [math.nan, math.inf, TrainingError("the gradient is not finite")])
def test_a_rate_that_diverges_is_not_taken_and_can_be_written_down(task: Task, tmp_path: Path, bad: object) -> None:
    def trial(rate: float, run: Run) -> float:
        if rate == RATES[0]:
            if isinstance(bad, Exception):
                raise bad
            return float(bad)  # type: ignore[arg-type]
        return rate

    run = Run(checkpoints=Checkpoints(tmp_path))
    assert search_rate("teacher", trial, task, 16, run) == min(RATES)
    kept = run.checkpoints.load("teacher-rate")
    assert kept is not None
    assert kept[1]["tried"][f"{RATES[0]:g}"] is None


@pytest.mark.parametrize(
    ("losses", "taken"),
    [
        ((1.40, 1.38, 1.39), 0),  # of four classes that are as frequent, log 4 = 1.386
        ((1.40, 1.30, 1.39), 1),
        ((math.inf, 1.39, 1.38), 1),
        ((math.inf, math.nan, math.inf), 0),
        ((28.0, 10.8, 2.5), 2),  # all far above, and yet told apart
    ],
)
def test_where_no_rate_has_learned_anything_the_usual_one_is_taken(
    task: Task, capsys: pytest.CaptureFixture[str], losses: tuple[float, ...], taken: int
) -> None:
    of = dict(zip(RATES, losses, strict=True))
    assert search_rate("scratch", lambda rate, run: of[rate], task, 16, Run(display=Display())) == RATES[taken]
    assert ("no rate has learned anything so soon" in capsys.readouterr().out) == (losses[taken] not in (1.30, 2.5))


@pytest.mark.parametrize(
    ("gain", "many", "few"),  # of the usual rate's loss over a lower one's, in standard errors
    [(-2.5, False, False), (-1.5, True, False), (0.5, True, False), (1.5, True, True)],
)
@pytest.mark.parametrize("training", [ADAMW, SGD])
def test_what_short_trainings_cant_tell_is_settled_by_how_many_steps_follow(
    training: TrainingConfig, gain: float, many: bool, few: bool
) -> None:
    spread = torch.tensor([1.0, -1.0]).double().repeat(50)
    error = float(spread.std()) / 10
    usual, lower, lowest = SGD_RATES if training is SGD else RATES
    losses = {usual: torch.ones(100).double() - gain * error, lower: 1 + spread, lowest: 9 + spread}
    for many_steps, wanted in ((True, many), (False, few)):
        assert settle_by_steps(lower, losses, training, many_steps) == (usual if wanted else lower)


def test_where_a_training_failed_there_is_nothing_to_settle() -> None:
    some, none = torch.ones(9).double(), torch.full((9,), math.nan).double()
    usual, lower, lowest = RATES
    assert settle_by_steps(lower, {lower: some, lowest: some}, ADAMW, True) == lower
    assert settle_by_steps(lower, {usual: none, lower: some}, ADAMW, True) == lower
    assert settle_by_steps(usual, {usual: some, lower: none}, ADAMW, False) == usual


def test_the_loss_without_a_look_at_the_pictures_goes_by_how_frequent_classes_are(task: Task) -> None:
    assert constant_loss(task) == pytest.approx(math.log(4))
    labels = torch.tensor([0] * 6 + [1] * 2)
    skewed = replace(task, train=replace(task.train, labels=labels), val=replace(task.val, labels=labels))
    counts = torch.tensor([7.0, 3.0, 1.0, 1.0]) / 12
    assert constant_loss(skewed) == pytest.approx(-float(counts.log()[labels].mean()))


@pytest.mark.parametrize(("training", "rates"), [(ADAMW, RATES), (SGD, SGD_RATES)])
def test_of_each_optimisers_rates_the_usual_one_replaces_features_and_the_others_keep_them(
    training: TrainingConfig, rates: tuple[float, ...]
) -> None:
    assert [keeps_features(rate, training) for rate in rates] == [False, True, True]
    assert usual_rate(training) == rates[0]
    students = [student_rate(None, Run(training=training, rate=rate)) for rate in rates]
    assert [students_teacher_keeps_features(rate, training) for rate in students] == [False, True, True]
    assert student_rate(None, Run(training=training)) == 2 * rates[0], "nothing was found: as at the usual rate"


@pytest.mark.parametrize("pictures", [1, 20, 48, 500, 5000])
def test_trials_have_some_steps_where_there_are_few_pictures(pictures: int) -> None:
    assert 1 <= trial_epochs(pictures, 64) <= 4
    assert trial_epochs(pictures, 64) >= trial_epochs(10 * pictures, 64)
    assert trial_epochs(5000, 64) == 1


def test_the_loss_is_the_mean_over_all_pictures_and_the_mode_is_put_back(
    backbone: Backbone, task: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    net = backbone.teacher(4).train()
    whole = loss_on(net, task.val, backbone.spec)
    assert net.training
    net.eval()
    with torch.no_grad():
        ((x, labels),) = evaluation_batches(task.val, backbone.spec, torch.device("cpu"))
        assert whole == pytest.approx(float(cross_entropy(net(x), labels)), rel=1e-5)
    monkeypatch.setattr("nettailor.data.batches.EVALUATION_BATCH", 5)
    assert loss_on(net, task.val, backbone.spec) == pytest.approx(whole, rel=1e-5)
    assert not net.training
