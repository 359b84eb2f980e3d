"""How long a training of ours is where the recipe leaves it out."""

from __future__ import annotations

import pytest

from blocks import Backbone
from nettailor.data.task import Task
from nettailor.pruning.config import PruneConfig
from nettailor.training import passes
from nettailor.training.config import RecoverConfig, StudentConfig
from nettailor.training.finetuning import finetune
from nettailor.training.passes import UsualPasses
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


def test_student_and_recovery_are_as_long_as_that(
    backbone: Backbone, task: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(passes, "STUDENT", UsualPasses(2, 9))
    monkeypatch.setattr(passes, "RECOVERY", UsualPasses(1, 15))
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
    assert hard.epochs == 2 * longer.epochs


def test_left_out_is_the_default() -> None:
    assert (StudentConfig().epochs, PruneConfig().epochs, RecoverConfig().epochs) == (None, None, None)
