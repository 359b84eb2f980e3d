"""Architectures judged over folds."""

from __future__ import annotations

from dataclasses import replace
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from blocks import Backbone
from nettailor.data.config import DataConfig
from nettailor.data.task import Task
from nettailor.progress import Display
from nettailor.pruning import folds as folds_module
from nettailor.pruning.config import PruneConfig
from nettailor.pruning.criterion import Drop
from nettailor.pruning.folds import FOLDS, FoldJudge
from nettailor.pruning.graph import BlockGraph
from nettailor.pruning.solver import cheapest
from nettailor.training.checkpoint import Checkpoints
from nettailor.training.config import StudentConfig, TeacherConfig
from nettailor.training.run import Run
from nettailor.training.stages import new_student

TEACHER = TeacherConfig(epochs=2, batch=16, start="fresh", lr=2e-3)
STUDENT = StudentConfig(epochs=2, batch=16, warm_start=16, views=1)


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
    drop = judge.drop(graph.paths, "recover-1", 4)
    assert drop.pictures == len(task.train) + len(task.val)
    assert all(not seen & asked for seen, asked in trained)
    assert len(trained) == 3
    # three teachers of two passes and three networks of four, over two thirds of 18 pictures where the run has 12
    assert judge.passes == pytest.approx(3 * (2 + 4) * 48 / 48)
    assert run.seconds.totals["folds"] > 0
    again = judge.drop(graph.paths, "recover-2", 4)
    assert judge.passes == pytest.approx(3 * (2 + 4 + 4)), "the teachers of the folds are trained once"
    assert again.pictures == drop.pictures


@pytest.mark.slow
def test_the_cheapest_network_loses_more_than_one_with_all(backbone: Backbone, task: Task) -> None:
    run = Run()
    run.rate = 2e-3
    judge = FoldJudge(backbone, task, 3, replace(TEACHER, epochs=12), STUDENT, run)
    graph = BlockGraph.of(new_student(backbone, task, STUDENT, run))
    blocks = [path for path in graph.paths if path.is_universal]
    kept, cut = judge.drop(blocks, "blocks", 6), judge.drop(cheapest(graph).paths, "cheapest", 6)
    assert kept.points < cut.points


def test_long_folds_show_how_far_they_are(backbone: Backbone, task: Task) -> None:
    said = StringIO()
    run = Run(display=Display(Console(file=said, width=120)))
    graph = BlockGraph.of(new_student(backbone, task, STUDENT, run))
    judge_of(backbone, task, run, count=2).drop(graph.paths, "recover-1", 2)
    lines = [line for line in said.getvalue().splitlines() if line.startswith("fold ")]
    trained = [f"fold {fold}/2 {stage}" for fold in (1, 2) for stage in ("teacher", "student")]
    assert [" ".join(line.split()[:4]) for line in lines] == [f"{name} {done}/2" for name in trained for done in (1, 2)]
    assert "left" in lines[0]
    others = [line.split(":")[0] for line in said.getvalue().splitlines() if line not in lines]
    assert others[0].startswith("folds      recover-1 is judged over 2 folds")
    assert others[1:] == ["folds      1 of 2", "folds      2 of 2"], "no other word"


def test_a_judgement_goes_on_where_it_was(backbone: Backbone, task: Task, tmp_path: Path) -> None:
    def drop(folder: Path | None) -> Drop:
        run = Run(checkpoints=Checkpoints(folder))
        graph = BlockGraph.of(new_student(backbone, task, STUDENT, run))
        return judge_of(backbone, task, run).drop(graph.paths, "recover-1", 2)

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
    assert count(PruneConfig(drop=0.5)) == FOLDS
    assert count(PruneConfig(drop=100 / 24)) == 0
    assert count(PruneConfig(drop=0.0)) == 0
    assert count(PruneConfig(drop=0.5, folds=0)) == 0
    assert count(PruneConfig(drop=50.0, folds=3)) == 3
    assert count(PruneConfig(how="budget", budget=0.5)) == 0


def test_pictures_of_one_group_have_no_folds(backbone: Backbone, task: Task) -> None:
    run = Run(rate=2e-3, augmentation=DataConfig(group="()"))
    assert FoldJudge.of(backbone, task, PruneConfig(drop=0.5), TEACHER, STUDENT, run) is None
