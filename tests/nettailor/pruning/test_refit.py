"""Removed paths that are cut at once, with proxies fitted anew: when, and what is measured."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path as FilePath

import pytest
import torch

from blocks import Backbone, Path, TailoredNet
from nettailor.data.task import Task
from nettailor.pruning import folds as folds_module
from nettailor.pruning import prune as pruning
from nettailor.pruning import refit as refit_module
from nettailor.pruning.config import PruneConfig
from nettailor.pruning.folds import FoldJudge
from nettailor.pruning.graph import BlockGraph
from nettailor.pruning.prune import prune
from nettailor.pruning.refit import Refit, cut_and_refit, refits
from nettailor.pruning.rounds import snapshot
from nettailor.training.checkpoint import Checkpoints
from nettailor.training.config import StudentConfig
from nettailor.training.finetuning import finetune
from nettailor.training.loop import accuracy
from nettailor.training.run import Run
from nettailor.training.stages import new_student, tailor, train
from tests.nettailor.conftest import STUDENT, TEACHER


class Asked(Exception):
    """Instead of a training."""


@pytest.mark.parametrize(
    ("cut", "rate", "fade_epochs", "answer"),
    [
        ("auto", 1e-3, None, True),
        ("auto", 4e-3, None, False),
        ("auto", 1e-3, 1.0, False),
        ("refit", 4e-3, None, True),
        ("fade", 1e-3, None, False),
    ],
)
def test_refit_is_for_low_rates_unless_told_otherwise(
    cut: str, rate: float, fade_epochs: float | None, answer: bool
) -> None:
    assert refits(cut, rate, fade_epochs) is answer  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("config", "way"),
    [
        (PruneConfig(lr=1e-3), "Refit"),
        (PruneConfig(lr=4e-3), "Fade"),
        (PruneConfig(lr=4e-3, cut="refit"), "Refit"),
        (PruneConfig(lr=1e-3, fade_epochs=0), "Fade"),
        (PruneConfig(lr=1e-3, how="budget", budget=0.5), "Refit"),
        (PruneConfig(lr=1e-3, how="paper", cut="refit"), "Fade"),
    ],
)
def test_a_round_removes_as_the_settings_and_the_rate_say(
    backbone: Backbone, task: Task, monkeypatch: pytest.MonkeyPatch, config: PruneConfig, way: str
) -> None:
    asked = []

    def asks(name: str) -> object:
        def ask(*_: object) -> None:
            asked.append(name)
            raise Asked

        return ask

    monkeypatch.setattr(pruning, "Refit", asks("Refit"))
    monkeypatch.setattr(pruning, "Fade", asks("Fade"))
    student, teacher = tailor(backbone, task, STUDENT, Run()), backbone.teacher(len(task.classes)).eval()
    with pytest.raises(Asked):
        prune(student, teacher, task, config, STUDENT, Run())
    assert asked == [way]


def trained(backbone: Backbone, task: Task) -> tuple[TailoredNet, BlockGraph, object]:
    """A student that begins as a teacher, and what is left of its paths without two blocks."""
    teacher = finetune(backbone, task, TEACHER, Run())
    student = tailor(backbone, task, STUDENT, Run(), teacher)
    train(student, teacher, task, STUDENT, Run())
    gone = [path for path in student.paths if path.key in ("G3", "G5")]
    return student, BlockGraph.of(student).without(gone), teacher


def test_it_cuts_once_before_the_first_step_and_measures_both_sides(backbone: Backbone, task: Task) -> None:
    student, left, _ = trained(backbone, task)
    before, start = accuracy(student, task.val), snapshot(student)
    cut = Refit(student, left, task, Run())
    assert not cut.is_over
    cut(0.0)
    assert cut.is_over
    assert student.live_paths() == left.paths
    assert cut.memory == {"before_cut": before, "after_cut": accuracy(student, task.val)}
    once = snapshot(student)
    changed = {name for name, tensor in once.items() if not torch.equal(tensor, start[name])}
    assert {"gates.fade"} < changed, "proxies are fitted too"
    cut(1.0)
    assert all(torch.equal(tensor, once[name]) for name, tensor in snapshot(student).items())


def test_where_nothing_goes_it_is_over_at_once(backbone: Backbone, task: Task) -> None:
    student = tailor(backbone, task, STUDENT, Run())
    idle = Refit(student, BlockGraph.of(student), task, Run())
    assert idle.is_over
    idle(0.0)
    assert idle.memory == {}


def test_a_stopped_round_is_cut_as_it_was(backbone: Backbone, task: Task, tmp_path: FilePath) -> None:
    config = PruneConfig(drop=0.0, epochs=1, patience=0, shrink=0.6, lr=1e-3, largest_loss=0)
    ended = []
    for folder in (tmp_path, tmp_path, None):  # the second goes on where all is done
        torch.manual_seed(0)
        teacher = finetune(backbone, task, TEACHER, Run())
        student = tailor(backbone, task, STUDENT, Run(), teacher)
        result = prune(student, teacher, task, config, STUDENT, Run(checkpoints=Checkpoints(folder)))
        ended.append(([vars(trial) for trial in result.trials], snapshot(student)))
    assert ended[0][0] == ended[1][0] == ended[2][0]
    assert all(trial["before_cut"] is not None and trial["after_cut"] is not None for trial in ended[0][0])
    for _, tensors in ended[1:]:
        assert all(torch.equal(tensor, tensors[name]) for name, tensor in ended[0][1].items())


@pytest.mark.parametrize(
    ("rate", "settings", "refitted"),
    [(2e-4, {}, True), (2e-3, {}, False), (2e-4, {"cut": "fade"}, False), (2e-4, {"fade_epochs": 1.0}, False)],
)
def test_networks_of_folds_lose_their_paths_as_the_runs_do(
    backbone: Backbone,
    task: Task,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: FilePath,
    rate: float,
    settings: dict[str, object],
    refitted: bool,
) -> None:
    cut: list[list[str]] = []

    def counted(student: TailoredNet, kept: Iterable[Path], one: Task, run: Run) -> None:
        paths = list(kept)
        cut.append([path.key for path in paths])
        cut_and_refit(student, paths, one, run)

    monkeypatch.setattr(folds_module, "cut_and_refit", counted)
    short = StudentConfig(epochs=1, batch=16, warm_start=16, views=1)
    config = PruneConfig(folds=2, **settings)  # type: ignore[arg-type]
    for again in (False, True):
        run = Run(checkpoints=Checkpoints(tmp_path))
        run.rate = rate
        judge = FoldJudge.of(backbone, task, config, replace(TEACHER, epochs=1), short, run)
        graph = BlockGraph.of(new_student(backbone, task, short, run))
        left = graph.without([path for path in graph.paths if path.key == "G3"])
        assert judge is not None
        judge.drop(left.paths, "recover-1", 1)
        assert cut == [[path.key for path in left.paths]] * (2 if refitted else 0), f"nothing twice, {again}"


def test_so_many_pictures_are_looked_at_as_may_be_held(
    backbone: Backbone, task: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[list[int]] = []
    monkeypatch.setattr(refit_module, "refit", lambda student, kept, batches: seen.append([len(x) for x in batches]))
    student = tailor(backbone, task, STUDENT, Run())
    held = sum(4 * c * h * w for c, h, w in student.backbone.shapes)
    monkeypatch.setattr(refit_module, "AT_ONCE", 4)
    for most, pictures in ((512, len(task.train)), (10, 10)):
        monkeypatch.setattr(refit_module, "PICTURES", most)
        cut_and_refit(student, student.paths, task, Run())
        assert sum(seen[-1]) == pictures
    monkeypatch.setattr(refit_module, "HELD", 2 * 7 * held)
    cut_and_refit(student, student.paths, task, Run())
    assert seen[-1] == [4, 3]
