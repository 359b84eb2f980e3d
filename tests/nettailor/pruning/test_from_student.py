"""The first networks where cuts are fitted anew and folds will judge: each is cut out of the student as it was trained."""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path as FilePath
from typing import Any

import pytest
import torch

from blocks import Backbone, Path, TailoredNet
from nettailor.data.task import Task
from nettailor.pruning import job as jobs
from nettailor.pruning import prune as pruning
from nettailor.pruning.config import PruneConfig
from nettailor.pruning.graph import BlockGraph
from nettailor.pruning.importance import option_losses
from nettailor.pruning.prune import Pruned, prune
from nettailor.pruning.refit import cut_and_refit
from nettailor.pruning.rounds import Rounds, snapshot
from nettailor.pruning.solver import Option, within_budget
from nettailor.training import passes
from nettailor.training.checkpoint import Checkpoints, restore
from nettailor.training.loop import accuracy
from nettailor.training.run import Run
from tests.nettailor.conftest import STUDENT
from tests.nettailor.pruning.test_refit import taught

CONFIG = PruneConfig(shrink=0.7, lr=1e-3, patience=0, folds=2)


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rounds of one pass; a network fitted anew is enough, whatever it lost."""
    monkeypatch.setattr(passes, "SLOW_ROUND", passes.UsualPasses(1, 1))
    monkeypatch.setattr(jobs, "UNTRAINED", 1.0)


def pruned(backbone: Backbone, task: Task, config: PruneConfig = CONFIG, run: Run | None = None) -> tuple[Any, ...]:
    """A result, the student, and what the task owned of it before."""
    student, teacher = taught(backbone, task)
    start = snapshot(student)
    return prune(student, teacher, task, config, STUDENT, run or Run()), student, start


def test_each_is_the_best_of_its_size_and_cut_out_of_the_student(
    backbone: Backbone, task: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured: list[list[Option]] = []

    def looking(*given: Any) -> list[Option]:
        measured.append(option_losses(*given))
        return measured[-1]

    monkeypatch.setattr(pruning, "option_losses", looking)
    result, student, start = pruned(backbone, task)
    restore(student.task_tensors(), start, "student")
    whole, before = BlockGraph.of(student), accuracy(student, task.val)
    wanted, price = [], student.cost_model.blocks
    while True:
        price *= math.sqrt(0.7)
        try:
            paths = [path.key for path in within_budget(whole, measured[0], price).paths]
        except pruning.GraphError:
            break
        if paths not in wanted:
            wanted.append(paths)
    assert len(wanted) > 3
    assert [trial.paths for trial in result.trials[: len(wanted)]] == wanted
    for trial, tensors in zip(result.trials, result.steps, strict=True):
        restore(student.task_tensors(), start, "student")
        cut_and_refit(student, [path for path in whole.paths if path.key in trial.paths], task, Run())
        assert all(torch.equal(tensor, tensors[name]) for name, tensor in student.task_tensors().items())
        assert sorted([*trial.paths, *trial.removed]) == sorted(path.key for path in whole.paths)
        assert (trial.before_cut, trial.after_cut, trial.epochs) == (before, accuracy(student, task.val), 0)
        assert trial.val_accuracy == trial.after_cut
    assert len(measured) == 2, "the second is that of the round that finds nothing cheaper"
    looked_at = len(measured[0]) * len(task.val) + len(task.train) + len(wanted) * (len(task.train) + len(task.val))
    rest = result.importance_passes * len(task.train) - looked_at
    assert rest == pytest.approx(len(measured[1]) * len(task.val) + len(task.train))


@pytest.mark.parametrize(("enough", "number"), [((1, 2, 4), 3), ((1, 2, 5), 3), ((1, 2), 0)])
def test_rounds_go_on_from_a_network_that_keeps_what_they_need(
    backbone: Backbone, task: Task, monkeypatch: pytest.MonkeyPatch, enough: tuple[int, ...], number: int
) -> None:
    """The third of the best networks has to be trained; of those that rounds may go on from the first, the second or none."""
    asked: list[float] = []

    def few(self: jobs.Job, value: float) -> bool:
        asked.append(value)
        return len(asked) in enough

    monkeypatch.setattr(jobs.Job, "needs_no_training", few)
    result, student, start = pruned(backbone, task)
    first, second = result.trials[:2]
    assert (first.epochs, second.epochs) == (0, 0)
    went_on = next(trial for trial in result.trials if trial.epochs)
    assert result.trials.index(went_on) == max(2, number)
    if number:
        base = result.trials[number - 1]
        assert base.epochs == 0
        assert set(went_on.removed) < set(base.paths)
        assert went_on.before_cut == base.val_accuracy
        size = student.cost_model.blocks * math.sqrt(0.7) ** (2 if enough[-1] == 4 else 1)
        assert base.price <= size
        assert base.paths not in (first.paths, second.paths)
    else:
        restore(student.task_tensors(), start, "student")
        assert went_on.before_cut == accuracy(student, task.val)


@pytest.mark.parametrize("settings", [{"how": "budget", "budget": 0.6}, {"epochs": 1}, {"cut": "fade"}, {"folds": 0}])
def test_elsewhere_there_are_rounds_alone(
    backbone: Backbone, task: Task, monkeypatch: pytest.MonkeyPatch, settings: dict[str, Any]
) -> None:
    monkeypatch.setattr(pruning, "_from_student", lambda *_: pytest.fail("a network was cut out of the student"))
    pruned(backbone, task, PruneConfig(**{"shrink": 0.5, "lr": 1e-3, "patience": 0, "folds": 2, **settings}))


@pytest.mark.slow
def test_a_run_that_is_stopped_between_them_ends_as_it_would_have(
    backbone: Backbone, task: Task, tmp_path: FilePath, monkeypatch: pytest.MonkeyPatch
) -> None:
    cuts: list[list[str]] = []

    def counted(student: TailoredNet, kept: Iterable[Path], task: Task, run: Run) -> None:
        paths = list(kept)
        cuts.append([path.key for path in paths])
        if len(cuts) == stop_at:
            raise KeyboardInterrupt
        cut_and_refit(student, paths, task, run)

    def ended(folder: FilePath | None) -> tuple[Pruned, dict[str, torch.Tensor]]:
        result, student, _ = pruned(backbone, task, run=Run(checkpoints=Checkpoints(folder)))
        return result, snapshot(student)

    stop_at = 0
    wanted, tensors = ended(None)
    monkeypatch.setattr(pruning, "cut_and_refit", counted)
    stop_at = 3
    with pytest.raises(KeyboardInterrupt):
        ended(tmp_path)
    stop_at, begun = 0, list(cuts)
    result, their = ended(tmp_path)
    assert [vars(trial) for trial in result.trials] == [vars(trial) for trial in wanted.trials]
    assert not [paths for paths in cuts[len(begun) :] if paths in begun[:2]], "what was done is not done again"
    assert all(torch.equal(tensor, their[name]) for name, tensor in tensors.items())


def test_a_run_that_is_stopped_between_rounds_does_not_begin_with_the_student_again(
    backbone: Backbone, task: Task, tmp_path: FilePath, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two networks are cut out of the student here; the second round after them is stopped before it has chosen."""
    cut, measured = pruning._cut_of, 0

    def two(job: jobs.Job, state: Rounds, *rest: Any) -> int:
        return cut(job, state, *rest) if len(state.trials) < 2 else 0

    def stopped(*given: Any) -> list[Option]:
        nonlocal measured
        measured += 1
        if measured == 3:
            raise KeyboardInterrupt
        return option_losses(*given)

    def ended(folder: FilePath | None) -> list[dict[str, Any]]:
        result, *_ = pruned(backbone, task, run=Run(checkpoints=Checkpoints(folder)))
        return [vars(trial) for trial in result.trials]

    monkeypatch.setattr(pruning, "_cut_of", two)
    wanted = ended(None)
    assert len(wanted) > 3
    monkeypatch.setattr(pruning, "option_losses", stopped)
    with pytest.raises(KeyboardInterrupt):
        ended(tmp_path)
    monkeypatch.setattr(pruning, "_from_student", lambda *_: pytest.fail("rounds have begun"))
    assert ended(tmp_path) == wanted
