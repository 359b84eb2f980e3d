"""Recovery: which of the pruned networks is taken."""

from __future__ import annotations

import pytest

from blocks import Backbone
from nettailor.data.task import Task
from nettailor.pruning.config import PruneConfig
from nettailor.pruning.prune import prune, snapshot
from nettailor.pruning.recover import recover_leanest
from nettailor.training.checkpoint import restore
from nettailor.training.config import RecoverConfig, StudentConfig, TeacherConfig
from nettailor.training.loop import Run, accuracy
from nettailor.training.stages import finetune, tailor, train
from tests.nettailor.conftest import STUDENT


def test_the_leanest_that_recovery_brings_within_the_drop_is_taken(
    backbone: Backbone, task: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nettailor.pruning.recover.NEAR", 1.0)  # a net this small falls far
    teacher = finetune(backbone, task, TeacherConfig(epochs=15, batch=16), Run())
    student = tailor(backbone, task, STUDENT, Run())
    train(student, teacher, task, StudentConfig(epochs=15, batch=8), Run())
    choice = PruneConfig(drop=0.0, epochs=1, shrink=0.5, lr=1e-6, fade_epochs=0, front=True)
    pruned = prune(student, teacher, task, choice, STUDENT, Run())
    assert [trial for trial in pruned.trials if trial.price < pruned.graph.price()]
    start = snapshot(student)
    leanest = min(trial.macs for trial in pruned.trials)
    for least in (0.0, pruned.least, 2.0):  # all are within, some, none
        pruned.least = least
        for count in (0, 1, 4):
            restore(student.task_tensors(), start, "student")
            after = RecoverConfig(epochs=1, leaner=count)
            result = recover_leanest(student, teacher, task, pruned, after, 30.0, STUDENT, Run())
            assert len(result.attempts) <= count + 1
            assert all(attempt.after >= attempt.before for attempt in result.attempts)
            within = [attempt for attempt in result.attempts if attempt.after >= least]
            best = max(attempt.after for attempt in result.attempts)
            if within:
                expected = min(within, key=lambda attempt: attempt.macs)
            else:
                near = [attempt for attempt in result.attempts if attempt.after >= best - 0.3 - 1e-6]
                expected = min(near, key=lambda attempt: attempt.macs)
                assert result.attempts[-1].macs == pruned.graph.macs(), "the choice itself is tried before giving up"
            if count == 4 and least == 0.0:
                assert expected.macs == leanest, "halves end at the last one"
            assert result.graph.macs() == expected.macs
            assert result.val_accuracy == expected.after == accuracy(student, task.val)
            assert student.live_paths() == result.graph.paths
            assert result.epochs == len(result.attempts)
