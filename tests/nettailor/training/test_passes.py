"""How long a training of ours is where the recipe leaves it out."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from blocks import Backbone
from nettailor.data.task import Task
from nettailor.pruning.config import PruneConfig
from nettailor.pruning.prune import prune
from nettailor.training import passes
from nettailor.training.checkpoint import Checkpoints
from nettailor.training.config import RecoverConfig, StudentConfig, TrainingConfig
from nettailor.training.finetuning import finetune
from nettailor.training.passes import UsualPasses
from nettailor.training.rates import MOST_TRIAL_EPOCHS, trial_epochs
from nettailor.training.run import Run
from nettailor.training.stages import recover, tailor, train
from tests.nettailor.conftest import TEACHER


@pytest.mark.parametrize(
    ("pictures", "wanted"),
    [
        (10_000, 6),
        (1082, 6),  # the digits: 16 steps a pass
        (512, 12),  # 8 steps a pass
        (196, 12),  # the batch shrinks to 24
        (40, 48),  # batches of 16: 2 steps a pass
        (3, 96),
    ],
)
def test_few_pictures_are_passed_over_more_often(pictures: int, wanted: int) -> None:
    assert UsualPasses(6, 96).over(pictures, 64) == wanted
    assert UsualPasses(6, 96).over(pictures, 64, configured=1) == 1
    assert UsualPasses(6, 96).over(pictures, 64, taught=0.79) == 2 * wanted
    assert UsualPasses(6, 96).over(pictures, 64, configured=1, taught=0.1) == 1


def test_batches_that_make_a_step_together_are_one_step() -> None:
    """512 pictures are 32 batches of 16, and 8 steps of four: as many as with batches of 64."""
    assert UsualPasses(6, 96).over(512, 16, accumulate=4) == UsualPasses(6, 96).over(512, 64) == 12
    assert UsualPasses(6, 96).over(512, 16) == 6
    assert UsualPasses(6, 96).over(36, 16, accumulate=4) == 96, "a last group may be smaller, but is a step"
    assert trial_epochs(512, 16, 4) == trial_epochs(512, 64) == 4
    assert trial_epochs(512, 16) == 1


def test_student_rounds_recovery_and_trials_count_optimiser_steps(
    backbone: Backbone, task: Task, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(passes, "STUDENT", UsualPasses(1, 2))
    monkeypatch.setattr(passes, "ROUND", UsualPasses(1, 2))
    monkeypatch.setattr(passes, "RECOVERY", UsualPasses(1, 2))
    monkeypatch.setattr(passes, "LEAN", 9.0)
    monkeypatch.setattr(passes, "HARD", 0.0)
    run = Run(training=TrainingConfig(accumulate=100), checkpoints=Checkpoints(tmp_path))  # a step a pass
    teacher = finetune(backbone, task, replace(TEACHER, epochs=1, lr=None, start="fresh"), run)
    assert run.fitted["teacher-rate"].epochs == 3 * MOST_TRIAL_EPOCHS
    settings = StudentConfig(batch=16, views=1, warm_start=0, skips=1)
    student = tailor(backbone, task, settings, run, teacher)
    assert train(student, teacher, task, settings, run).epochs == 2
    found = prune(student, teacher, task, PruneConfig(how="paper", remove=(1,)), settings, run)
    assert [trial.epochs for trial in found.trials] == [2]
    assert recover(student, teacher, task, RecoverConfig(), settings, run).epochs == 2


def test_student_and_recovery_are_as_long_as_that(
    backbone: Backbone, task: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(passes, "STUDENT", UsualPasses(2, 9))
    monkeypatch.setattr(passes, "RECOVERY", UsualPasses(1, 15))
    monkeypatch.setattr(passes, "LEAN", 9.0)
    run, teacher = Run(), finetune(backbone, task, TEACHER, Run())
    student = tailor(backbone, task, StudentConfig(batch=16), run, teacher)
    monkeypatch.setattr(passes, "HARD", 0.0)
    usual = train(student, teacher, task, StudentConfig(batch=16), run)
    assert usual.epochs == passes.STUDENT.over(len(task.train), 16) > passes.STUDENT.passes
    assert recover(student, teacher, task, RecoverConfig(epochs=1), StudentConfig(batch=16), run).epochs == 1
    longer = recover(student, teacher, task, RecoverConfig(), StudentConfig(batch=16), run, "again")
    assert longer.epochs == passes.RECOVERY.over(len(task.train), 16) > passes.RECOVERY.passes
    monkeypatch.setattr(passes, "HARD", 1.01)
    assert train(student, teacher, task, StudentConfig(batch=16), Run()).epochs == 2 * usual.epochs
    hard = recover(student, teacher, task, RecoverConfig(), StudentConfig(batch=16), Run(), "hard")
    assert hard.epochs == longer.epochs, "it is long as it is"


def test_a_recovery_at_a_low_rate_is_shorter_and_on_a_hard_task_twice_as_long(
    backbone: Backbone, task: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(passes, "LEAN", 9.0)
    monkeypatch.setattr(passes, "RECOVERY", UsualPasses(5, 1))
    monkeypatch.setattr(passes, "SLOW_RECOVERY", UsualPasses(2, 1))
    teacher = finetune(backbone, task, TEACHER, Run())
    student = tailor(backbone, task, StudentConfig(batch=16), Run(), teacher)

    def passes_at(lr: float) -> int:
        return recover(student, teacher, task, RecoverConfig(lr=lr), StudentConfig(batch=16), Run(), f"at {lr}").epochs

    monkeypatch.setattr(passes, "HARD", 0.0)
    assert (passes_at(4e-3), passes_at(2e-4)) == (5, 2)
    monkeypatch.setattr(passes, "HARD", 1.01)
    assert (passes_at(4e-3), passes_at(2e-4)) == (5, 4)


@pytest.mark.parametrize(("share", "wanted"), [(0.02, 36), (0.5, 36), (0.6, 30), (1.0, 18), (100.0, 1)])
def test_a_recovery_of_a_large_network_takes_no_longer_than_of_one_of_half_the_size(share: float, wanted: int) -> None:
    assert passes.in_the_time_of_a_lean_one(36, share) == wanted


def test_how_long_a_recovery_at_a_high_rate_is_goes_by_what_is_left(
    backbone: Backbone, task: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(passes, "HARD", 0.0)
    monkeypatch.setattr(passes, "RECOVERY", UsualPasses(2, 1))
    monkeypatch.setattr(passes, "SLOW_RECOVERY", UsualPasses(2, 1))
    teacher = finetune(backbone, task, TEACHER, Run())
    student = tailor(backbone, task, StudentConfig(batch=16), Run(), teacher)
    student.keep(path for path in student.paths if path.is_universal)

    def passes_of(stage: str, lr: float = 4e-3, epochs: int | None = None) -> int:
        config = RecoverConfig(lr=lr, epochs=epochs)
        return recover(student, teacher, task, config, StudentConfig(batch=16), Run(), stage).epochs

    assert passes_of("all blocks") == 1, "half of the usual ones"
    assert passes_of("as asked for", epochs=3) == 3
    assert passes_of("at a low rate", lr=2e-4) == 2
    student.keep(path for path in student.paths if not path.is_universal)
    assert student.cost().macs < passes.LEAN * backbone.cost.macs
    assert passes_of("proxies alone") == 2


def test_left_out_is_the_default() -> None:
    assert (StudentConfig().epochs, PruneConfig().epochs, RecoverConfig().epochs) == (None, None, None)


def test_a_round_at_a_low_rate_takes_more_steps(backbone: Backbone, task: Task) -> None:
    def round_at(rate: float) -> int:
        run = Run(rate=rate)
        student = tailor(backbone, task, StudentConfig(batch=16, skips=1, warm_start=0), run)
        teacher = backbone.teacher(len(task.classes)).requires_grad_(False).eval()
        found = prune(student, teacher, task, PruneConfig(how="paper", remove=(1,)), StudentConfig(batch=16), run)
        (trial,) = found.trials
        return trial.epochs

    assert round_at(2e-3) == 11, "32 steps, 3 a pass"
    assert round_at(5e-4) == 32, "96 steps"
