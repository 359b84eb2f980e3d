"""The first networks at a low rate: each is cut out of a student's blocks as they began, before it was trained."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path as FilePath
from typing import Any

import pytest
import torch
from torch.nn.functional import cross_entropy

from blocks import Backbone, Path, TailoredNet
from blocks.warm_start import thinned_paths
from nettailor.data.batches import normalise
from nettailor.data.task import Task
from nettailor.pruning import folds as folds_module
from nettailor.pruning import from_blocks as module
from nettailor.pruning.config import PruneConfig
from nettailor.pruning.folds import FoldJudge
from nettailor.pruning.from_blocks import prune_blocks
from nettailor.pruning.graph import BlockGraph, GraphError
from nettailor.pruning.prune import Pruned
from nettailor.pruning.refit import count_to_fit_on, cut_blocks_and_refit
from nettailor.pruning.solver import Option, within_budget
from nettailor.pruning.states import BEGUN, Begun, snapshot
from nettailor.training.checkpoint import Checkpoints
from nettailor.training.config import TeacherConfig
from nettailor.training.loop import accuracy
from nettailor.training.run import Run
from nettailor.training.stages import train
from tests.nettailor.pruning.test_widths import LOW, SETTINGS, begun, inverted

__all__ = ["inverted"]
CONFIG = PruneConfig(shrink=0.95, patience=0, folds=0, drop=99.0)
"""With which every network is within the drop."""
Taught = tuple[TailoredNet, Backbone, Begun]


def taught(backbone: Backbone, task: Task, run: Run) -> Taught:
    """A trained student, its teacher, and the student as it began."""
    student, teacher = begun(backbone, task, run)
    start = Begun.of(student, run)
    assert start is not None
    train(student, teacher, task, SETTINGS, run)
    return student, teacher, start


def pruned(given: Taught, task: Task, run: Run, config: PruneConfig = CONFIG) -> tuple[Pruned, bool]:
    student, teacher, start = given
    found = prune_blocks(student, start, teacher, task, config, SETTINGS, run)
    assert found is not None
    return found


def universal(student: TailoredNet) -> list[Path]:
    return [path for path in student.paths if path.is_universal]


def test_each_is_the_best_of_its_size_and_cut_out_of_the_blocks(
    inverted: Backbone, task: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Run()
    given = taught(inverted, task, run)
    student, teacher, start = given
    trained, found = snapshot(student), []

    def losses(*args: Any) -> list[Option]:
        found.append(options(*args))
        return found[-1]

    options = module._losses
    monkeypatch.setattr(module, "_losses", losses)
    result, is_open = pruned(given, task, run)
    assert is_open, "no network of blocks is cheaper"
    restored = {name: tensor.clone() for name, tensor in student.task_tensors().items()}
    (chosen,) = [n for n, trial in enumerate(result.trials) if trial.paths == [p.key for p in result.graph.paths]]
    assert all(torch.equal(tensor, restored[name]) for name, tensor in result.steps[chosen].items())
    start.put_into(student)
    blocks = universal(student)
    whole, price, wanted = BlockGraph.of(student), student.cost_model.blocks, []
    while True:
        price *= math.sqrt(0.95)
        try:
            paths = [path.key for path in within_budget(whole, found[0], price).paths]
        except GraphError:
            break
        if paths not in wanted:
            wanted.append(paths)
    assert len(wanted) > 2
    assert [trial.paths for trial in result.trials] == wanted
    student.keep(blocks)
    before = accuracy(student, task.val)
    for trial, tensors in zip(result.trials, result.steps, strict=True):
        start.put_into(student)
        cut_blocks_and_refit(student, [path for path in whole.paths if path.key in trial.paths], task, run)
        assert all(torch.equal(tensor, tensors[name]) for name, tensor in student.task_tensors().items())
        assert sorted([*trial.paths, *trial.removed]) == sorted(path.key for path in whole.paths)
        assert (trial.before_cut, trial.after_cut, trial.epochs) == (before, accuracy(student, task.val), 0)
        assert trial.val_accuracy == trial.after_cut
        assert trial.from_blocks
        assert all(tensor.isfinite().all() for tensor in tensors.values())
    assert not all(torch.equal(tensor, trained[name]) for name, tensor in start.tensors.items()), "it was trained"
    looked_at = len(thinned_paths(student)) * len(task.val)
    looked_at += len(result.trials) * (count_to_fit_on(student, task, run) + len(task.val))
    assert result.importance_passes * len(task.train) == pytest.approx(looked_at)
    assert found[0][: len(blocks)] == [Option(path.target, frozenset([path]), 0.0) for path in blocks]
    start.put_into(student)
    x = normalise(task.val.batch(torch.arange(len(task.val))), student.spec, torch.device("cpu"))
    answers = teacher(x).softmax(1).detach()

    @torch.no_grad()
    def loss(kept: Iterable[Path]) -> float:
        student.keep(kept)
        return float(cross_entropy(student.eval()(x), answers))

    thinned = {path.target: path for path in thinned_paths(student)}
    assert [option.layer for option in found[0][len(blocks) :]] == list(thinned)
    for option in found[0][len(blocks) :]:
        (path,) = option.kept
        assert path == thinned[option.layer]
        kept = [path if block.target == option.layer else block for block in blocks]
        assert option.loss == pytest.approx(loss(kept) - loss(blocks), abs=1e-5)


@pytest.mark.parametrize(("patience", "count"), [(0, 1), (1, 2)])
def test_they_end_where_they_fall_too_far(
    inverted: Backbone, task: Task, monkeypatch: pytest.MonkeyPatch, patience: int, count: int
) -> None:
    """What recovery can bring back is less than nothing here."""

    def nothing(value: float, pictures: int, keeps_features: bool, taught: float) -> float:
        assert keeps_features
        return -1.0

    monkeypatch.setattr("nettailor.pruning.job.recoverable", nothing)
    run = Run()
    result, is_open = pruned(taught(inverted, task, run), task, run, replace(CONFIG, patience=patience))
    assert len(result.trials) == count
    assert not is_open


def test_where_none_is_of_the_first_size_all_blocks_are_the_choice(
    inverted: Backbone, task: Task, tmp_path: FilePath
) -> None:
    run = Run(checkpoints=Checkpoints(tmp_path))
    given = taught(inverted, task, run)
    result, is_open = pruned(given, task, run, replace(CONFIG, shrink=0.01))
    assert is_open
    assert not result.trials
    assert given[0].live_paths() == universal(given[0])


@pytest.mark.parametrize(
    "settings", [{"how": "budget", "budget": 0.8}, {"epochs": 1}, {"cut": "fade"}, {"how": "paper", "remove": (1,)}]
)
def test_elsewhere_nothing_is_cut_out_of_the_blocks(inverted: Backbone, task: Task, settings: dict[str, Any]) -> None:
    run = Run()
    student, teacher, start = taught(inverted, task, run)
    before = snapshot(student)
    config = replace(CONFIG, **settings)
    assert prune_blocks(student, start, teacher, task, config, SETTINGS, run) is None
    assert prune_blocks(student, None, teacher, task, CONFIG, SETTINGS, run) is None, "how they began is not known"
    assert all(torch.equal(tensor, before[name]) for name, tensor in snapshot(student).items())


def test_nor_where_no_block_can_be_thinned(backbone: Backbone, task: Task) -> None:
    run = Run()
    student, teacher = begun(backbone, task, run)
    start = Begun(snapshot(student))
    assert prune_blocks(student, start, teacher, task, CONFIG, SETTINGS, run) is None


def test_all_blocks_that_may_stay_are_those_that_began(inverted: Backbone, task: Task) -> None:
    run = Run()
    given = taught(inverted, task, run)
    student, _, start = given
    whole = pruned(given, task, run)[0].whole
    assert whole is not None
    start.put_into(student)
    student.keep(universal(student))
    assert all(torch.equal(tensor, whole.tensors[name]) for name, tensor in student.task_tensors().items())
    assert whole.val_accuracy == accuracy(student, task.val)


def test_a_run_that_is_stopped_between_them_ends_as_it_would_have(
    inverted: Backbone, task: Task, tmp_path: FilePath, monkeypatch: pytest.MonkeyPatch
) -> None:
    cuts: list[list[str]] = []
    stop_at = 2

    def counted(student: TailoredNet, kept: Iterable[Path], task: Task, run: Run) -> None:
        if len(cuts) + 1 == stop_at:
            raise KeyboardInterrupt
        cuts.append([path.key for path in kept])
        cut_blocks_and_refit(student, kept, task, run)

    def ended(folder: FilePath | None) -> tuple[list[dict[str, Any]], bool, dict[str, torch.Tensor]]:
        run = Run(checkpoints=Checkpoints(folder))
        given = taught(inverted, task, run)
        result, is_open = pruned(given, task, run)
        return [vars(trial) for trial in result.trials], is_open, snapshot(given[0])

    wanted, is_open, tensors = ended(None)
    assert len(wanted) == 3
    monkeypatch.setattr(module, "cut_blocks_and_refit", counted)
    with pytest.raises(KeyboardInterrupt):
        ended(tmp_path)
    stop_at = 0
    for _ in range(2):  # once more behind the last of them
        again, open_again, their = ended(tmp_path)
        assert (again, open_again) == (wanted, is_open)
        assert cuts == [trial["paths"] for trial in wanted], "nothing twice"
        assert all(torch.equal(tensor, their[name]) for name, tensor in tensors.items())


def test_how_a_student_began_is_kept_for_a_run_that_goes_on(inverted: Backbone, task: Task, tmp_path: FilePath) -> None:
    run = Run(checkpoints=Checkpoints(tmp_path))
    student, teacher, start = taught(inverted, task, run)
    kept = Begun.of(student, run)
    assert kept is not None
    assert set(kept.tensors) == set(start.tensors)
    assert all(torch.equal(tensor, start.tensors[name]) for name, tensor in kept.tensors.items())
    run.checkpoints.hand_over(BEGUN, tmp_path / "nets", 0.0)
    other = Run(checkpoints=Checkpoints(tmp_path / "other"))
    other.checkpoints.take_over(tmp_path / "nets")
    handed = Begun.of(student, other)
    assert handed is not None
    assert all(torch.equal(tensor, start.tensors[name]) for name, tensor in handed.tensors.items())
    own = student.task_tensors()
    assert all(torch.equal(tensor, own[name]) for name, tensor in start.tensors.items()), (
        "it was trained; it is put back"
    )
    run.checkpoints.drop(BEGUN)
    assert Begun.of(student, run) is None, "it is trained, and an earlier version kept nothing"
    del teacher


def test_it_is_not_kept_where_no_block_can_be_thinned(backbone: Backbone, task: Task, tmp_path: FilePath) -> None:
    run = Run(checkpoints=Checkpoints(tmp_path))
    student, _ = begun(backbone, task, run)
    assert not thinned_paths(student)
    assert Begun.of(student, run) is None
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("from_blocks", "passes"), [(True, 1), (False, 1), (True, 0)])
def test_networks_of_folds_are_cut_as_the_runs_was(
    inverted: Backbone, task: Task, monkeypatch: pytest.MonkeyPatch, from_blocks: bool, passes: int
) -> None:
    cut: list[str] = []
    for name in ("cut_and_refit", "cut_blocks_and_refit"):
        monkeypatch.setattr(folds_module, name, lambda *_, name=name: cut.append(name))
    run = Run()
    run.rate = LOW
    config = replace(CONFIG, folds=2)
    judge = FoldJudge.of(inverted, task, config, TeacherConfig(epochs=1, batch=16), SETTINGS, run)
    assert judge is not None
    student, _ = begun(inverted, task, run)
    right = torch.ones(len(task.val), dtype=torch.bool)
    judge.drop((right, right), universal(student), "recover-1", 0, 0.5, from_blocks)
    by_teacher = judge.passes
    judge.drop((right, right), universal(student), "recover-2", passes, 0.5, from_blocks)
    assert set(cut) == {"cut_blocks_and_refit" if from_blocks else "cut_and_refit"}
    assert bool(judge.passes - by_teacher) is bool(passes)
