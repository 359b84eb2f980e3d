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
    drop, folds = judge.drop(graph.paths, "recover-1", 4, ANY)
    assert (drop.pictures, folds) == (len(task.train) + len(task.val), 3)
    assert all(not seen & asked for seen, asked in trained)
    assert len(trained) == 3
    # three teachers of two passes and three networks of four, over two thirds of 18 pictures where the run has 12
    assert judge.passes == pytest.approx(3 * (2 + 4) * 48 / 48)
    assert run.seconds.totals["folds"] > 0
    again, _ = judge.drop(graph.paths, "recover-2", 4, ANY)
    assert judge.passes == pytest.approx(3 * (2 + 4 + 4)), "the teachers of the folds are trained once"
    assert again.pictures == drop.pictures


@pytest.mark.slow
def test_the_cheapest_network_loses_more_than_one_with_all(backbone: Backbone, task: Task) -> None:
    run = Run()
    run.rate = 2e-3
    judge = FoldJudge(backbone, task, 3, replace(TEACHER, epochs=12), STUDENT, run)
    graph = BlockGraph.of(new_student(backbone, task, STUDENT, run))
    blocks = [path for path in graph.paths if path.is_universal]
    kept, cut = (
        judge.drop(paths, name, 6, ANY)[0] for name, paths in (("blocks", blocks), ("cheapest", cheapest(graph).paths))
    )
    assert kept.points < cut.points


def test_long_folds_show_how_far_they_are(backbone: Backbone, task: Task) -> None:
    said = StringIO()
    run = Run(display=Display(Console(file=said, width=120)))
    graph = BlockGraph.of(new_student(backbone, task, STUDENT, run))
    judge_of(backbone, task, run, count=2).drop(graph.paths, "recover-1", 2, ANY)
    lines = [line for line in said.getvalue().splitlines() if line.startswith("fold ")]
    trained = [f"fold {fold}/2 {stage}" for fold in (1, 2) for stage in ("teacher", "student")]
    assert [" ".join(line.split()[:4]) for line in lines] == [f"{name} {done}/2" for name in trained for done in (1, 2)]
    assert "left" in lines[0]
    others = [line.split(":")[0] for line in said.getvalue().splitlines() if line not in lines]
    assert others[0].startswith("folds      recover-1 is judged over 2 folds")
    assert "a network of 2 passes for each" in " ".join(said.getvalue().split())
    assert others[1:] == ["folds      1 of 2", "folds      2 of 2"], "no other word"


def test_a_judgement_goes_on_where_it_was(backbone: Backbone, task: Task, tmp_path: Path) -> None:
    def drop(folder: Path | None) -> Drop:
        run = Run(checkpoints=Checkpoints(folder))
        graph = BlockGraph.of(new_student(backbone, task, STUDENT, run))
        return judge_of(backbone, task, run).drop(graph.paths, "recover-1", 2, ANY)[0]

    first = drop(tmp_path)
    files = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.safetensors")}
    assert len(files) >= 6
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
    ("train", "val", "folds"), [(196, 153, 3), (246, 42, 3), (100, 150, 2), (820, 140, 3), (3, 1, 3)]
)
def test_folds_are_as_few_as_train_on_as_many_pictures_as_the_run(train: int, val: int, folds: int) -> None:
    assert usual_folds(train, val) == folds
    if folds < folds_module.MOST_FOLDS:
        least = train / (train + val)
        assert (folds - 1) / folds >= least
        assert folds == 2 or (folds - 2) / (folds - 1) < least


@pytest.mark.parametrize(("wrong", "asked"), [(0, 3), (2, 3), (24, 1)])  # of 24: 0, 8 +- 6, 100 +- 4 points
def test_no_fold_is_trained_once_the_answers_show_that_more_is_lost(
    backbone: Backbone, task: Task, monkeypatch: pytest.MonkeyPatch, wrong: int, asked: int
) -> None:
    judge = judge_of(backbone, task, Run(display=Display(Console(file=(said := StringIO()), width=200))))
    numbers: list[int] = []

    def answers(number: int, *rest: object) -> tuple[torch.Tensor, torch.Tensor]:
        numbers.append(number)
        return torch.ones(24, dtype=torch.bool), torch.arange(24) >= wrong

    monkeypatch.setattr(judge, "_answers", answers)
    drop, folds = judge.drop([], "recover-1", 2, 0.5)
    assert numbers == list(range(asked))
    assert (folds, drop.pictures) == (asked, 24 * asked)
    assert drop.points == pytest.approx(100 * wrong / 24)
    assert ("folds      1 of 3: teacher 1.000, recover-1 0.000; that is enough" in said.getvalue()) == (asked == 1)


def test_pictures_of_one_group_have_no_folds(backbone: Backbone, task: Task) -> None:
    run = Run(rate=2e-3, augmentation=DataConfig(group="()"))
    assert FoldJudge.of(backbone, task, PruneConfig(drop=0.5), TEACHER, STUDENT, run) is None
