"""Architectures judged over folds."""

from __future__ import annotations

from dataclasses import replace
from io import StringIO
from pathlib import Path

import pytest
import torch
from rich.console import Console

from blocks import Backbone
from nettailor.data.config import DataConfig
from nettailor.data.task import Task
from nettailor.progress import Display
from nettailor.pruning import folds as folds_module
from nettailor.pruning.config import PruneConfig
from nettailor.pruning.criterion import Drop
from nettailor.pruning.folds import FoldJudge, usual_folds
from nettailor.pruning.graph import BlockGraph
from nettailor.pruning.solver import cheapest
from nettailor.training.checkpoint import Checkpoints
from nettailor.training.config import StudentConfig, TeacherConfig
from nettailor.training.run import Run
from nettailor.training.stages import new_student

TEACHER = TeacherConfig(epochs=2, batch=16, start="fresh", lr=2e-3)
STUDENT = StudentConfig(epochs=2, batch=16, warm_start=16, views=1)
ANY = 100.0
"""Points that may be lost where all folds are to be answered."""


def judge_of(backbone: Backbone, task: Task, run: Run, count: int = 3) -> FoldJudge:
    run.rate = 2e-3
    return FoldJudge(backbone, task, count, TEACHER, STUDENT, run)


def answered(wrong: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Answers to the 24 validation pictures: the teacher's, all right, and a network's."""
    return torch.ones(24, dtype=torch.bool), torch.arange(24) >= wrong


def test_every_picture_is_answered_by_networks_that_have_not_seen_it(
    backbone: Backbone, task: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained: list[tuple[set[str], set[str]]] = []
    whole = folds_module.fit_student

    def fit(stage: str, student: object, teacher: object, one: Task, *rest: object) -> object:
        trained.append((set(one.train.names), set(one.val.names)))
        assert rest[1] == 4
        return whole(stage, student, teacher, one, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(folds_module, "fit_student", fit)
    run = Run()
    judge = judge_of(backbone, task, run)
    student = new_student(backbone, task, STUDENT, run)
    graph = BlockGraph.of(student)
    drop, folds = judge.drop(answered(), graph.paths, "recover-1", 4, ANY)
    assert (drop.pictures, folds) == (len(task.train) + len(task.val), 3)
    assert all(not seen & asked for seen, asked in trained)
    assert sorted(name for _, asked in trained for name in asked) == sorted(task.train.names), "the others are answered"
    assert all(seen >= set(task.val.names) for seen, _ in trained)
    assert len(trained) == 2
    # two teachers of two passes and two networks of four, over half of the 48 pictures of the run, and 24 of validation
    assert judge.passes == pytest.approx(2 * (2 + 4) * 48 / 48)
    assert run.seconds.totals["folds"] > 0
    again, _ = judge.drop(answered(), graph.paths, "recover-2", 4, ANY)
    assert judge.passes == pytest.approx(2 * (2 + 4 + 4)), "the teachers of the folds are trained once"
    assert again.pictures == drop.pictures


def test_what_the_runs_own_networks_answer_counts(
    backbone: Backbone, task: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    judge = judge_of(backbone, task, Run())
    monkeypatch.setattr(judge, "_answers", lambda *_: answered())
    drop, _ = judge.drop(answered(wrong=6), [], "recover-1", 2, ANY)
    assert (drop.points, drop.pictures) == (pytest.approx(100 * 6 / 72), 72)


@pytest.mark.slow
def test_the_cheapest_network_loses_more_than_one_with_all(backbone: Backbone, task: Task) -> None:
    run = Run()
    run.rate = 2e-3
    judge = FoldJudge(backbone, task, 3, replace(TEACHER, epochs=12), STUDENT, run)
    graph = BlockGraph.of(new_student(backbone, task, STUDENT, run))
    blocks = [path for path in graph.paths if path.is_universal]
    tried = ("blocks", blocks), ("cheapest", cheapest(graph).paths)
    kept, cut = (judge.drop(answered(), paths, name, 6, ANY)[0] for name, paths in tried)
    assert kept.points < cut.points


def test_long_folds_show_how_far_they_are(backbone: Backbone, task: Task) -> None:
    said = StringIO()
    run = Run(display=Display(Console(file=said, width=300)))
    graph = BlockGraph.of(new_student(backbone, task, STUDENT, run))
    judge_of(backbone, task, run).drop(answered(), graph.paths, "recover-1", 2, ANY)
    lines = [line for line in said.getvalue().splitlines() if line.startswith("fold ")]
    trained = [f"fold {fold}/3 {stage}" for fold in (2, 3) for stage in ("teacher", "student")]
    assert [" ".join(line.split()[:4]) for line in lines] == [f"{name} {done}/2" for name in trained for done in (1, 2)]
    assert "left" in lines[0]
    others = [line.split(":")[0] for line in said.getvalue().splitlines() if line not in lines]
    assert others[0].startswith("folds      recover-1 is judged over 3 folds")
    assert "each with a teacher and a network of 2 passes" in " ".join(said.getvalue().split())
    assert others[1:] == ["folds      1 of 3", "folds      2 of 3", "folds      3 of 3"], "no other word"


def test_a_judgement_goes_on_where_it_was(backbone: Backbone, task: Task, tmp_path: Path) -> None:
    def drop(folder: Path | None) -> Drop:
        run = Run(checkpoints=Checkpoints(folder))
        graph = BlockGraph.of(new_student(backbone, task, STUDENT, run))
        return judge_of(backbone, task, run).drop(answered(), graph.paths, "recover-1", 2, ANY)[0]

    first = drop(tmp_path)
    files = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.safetensors")}
    assert len(files) >= 4
    assert drop(tmp_path) == first == drop(None)
    assert {path: path.stat().st_mtime_ns for path in files} == files, "nothing is trained twice"


def test_where_a_picture_is_more_than_the_drop_folds_are_taken(backbone: Backbone, task: Task) -> None:
    def count(config: PruneConfig) -> int:
        judge = FoldJudge.of(backbone, task, config, TEACHER, STUDENT, Run(rate=2e-3))
        return 0 if judge is None else len(judge)

    assert len(task.val) == 24
    assert count(PruneConfig(drop=0.5)) == usual_folds(len(task.train), len(task.val)) == 3
    assert count(PruneConfig(drop=100 / 24)) == 0
    assert count(PruneConfig(drop=0.0)) == 0
    assert count(PruneConfig(drop=0.5, folds=0)) == 0
    assert count(PruneConfig(drop=50.0, folds=3)) == 3
    assert count(PruneConfig(how="budget", budget=0.5)) == 0


@pytest.mark.parametrize(
    ("train", "val", "folds"), [(196, 153, 2), (196, 130, 3), (246, 42, 3), (820, 140, 3), (820, 130, 4), (2, 1, 3)]
)
def test_folds_are_as_few_as_leave_two_thirds_to_train_on(train: int, val: int, folds: int) -> None:
    assert usual_folds(train, val) == folds
    parts = folds - 1
    assert 3 * (val + train * (parts - 1) / parts) >= 2 * train
    assert parts == 1 or 3 * (val + train * (parts - 2) / (parts - 1)) < 2 * train


@pytest.mark.parametrize(("own", "wrong", "asked"), [(0, 0, 2), (0, 2, 2), (0, 24, 1), (24, 0, 0)])
def test_no_fold_is_trained_once_the_answers_show_that_more_is_lost(
    backbone: Backbone, task: Task, monkeypatch: pytest.MonkeyPatch, own: int, wrong: int, asked: int
) -> None:
    """Of 24 pictures each: 2 are 8 +- 6 points."""
    judge = judge_of(backbone, task, Run(display=Display(Console(file=(said := StringIO()), width=200))))
    numbers: list[int] = []

    def answers(number: int, *rest: object) -> tuple[torch.Tensor, torch.Tensor]:
        numbers.append(number)
        return answered(wrong)

    monkeypatch.setattr(judge, "_answers", answers)
    drop, folds = judge.drop(answered(own), [], "recover-1", 2, 0.5)
    assert numbers == list(range(asked))
    assert (folds, drop.pictures) == (1 + asked, 24 * (1 + asked))
    assert drop.points == pytest.approx(100 * (own + asked * wrong) / (24 * (1 + asked)))
    assert ("folds      that is enough" in said.getvalue()) == (asked < 2)
    assert f"folds      1 of 3: teacher 1.000, recover-1 {1 - own / 24:.3f}" in said.getvalue()


def test_pictures_of_one_group_have_no_folds(backbone: Backbone, task: Task) -> None:
    run = Run(rate=2e-3, augmentation=DataConfig(group="()"))
    assert FoldJudge.of(backbone, task, PruneConfig(drop=0.5), TEACHER, STUDENT, run) is None
