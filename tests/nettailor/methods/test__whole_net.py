"""Nets that are trained as a whole: how many passes are left for them, with what settings, and what they learn from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from blocks import Backbone
from nettailor import methods
from nettailor.artifacts.report import Report
from nettailor.data.task import Task
from nettailor.jobs.recipe import Recipe
from nettailor.methods import _frozen_backbone
from nettailor.methods import _teachers as teachers
from nettailor.methods import _whole_net as module
from nettailor.methods._protocol import Context
from nettailor.methods.blocks_per_stage import METHOD, Settings
from nettailor.training.config import StudentConfig, TeacherConfig, TrainingConfig
from nettailor.training.rates import RATES, SGD_RATES
from nettailor.training.run import Fitted, Run
from tests.conftest import CommandLine


@pytest.mark.parametrize(("distill", "teacher"), [(False, 0), (True, 5)])
@pytest.mark.parametrize(("lr", "search"), [(None, 6), (1e-3, 0)])
def test_all_passes_together_are_those_that_were_asked_for(
    backbone: Backbone,
    task: Task,
    monkeypatch: pytest.MonkeyPatch,
    distill: bool,
    teacher: int,
    lr: float | None,
    search: int,
) -> None:
    given: list[tuple[Any, ...]] = []

    def finetune(backbone: Backbone, task: Task, config: TeacherConfig, run: Run) -> Backbone:
        run.fitted["teacher"] = Fitted({}, 0.0, epochs=5)
        return backbone.teacher(len(task.classes)).eval()

    def searched(stage: str, trial: Any, task: Task, batch: int, run: Run, rates: Any) -> float:
        run.fitted[f"{stage}-rate"] = Fitted({}, 0.0, epochs=6)
        return 5e-4

    def fit(*words: Any) -> None:
        given.append(words)
        words[6].fitted[words[0]] = Fitted({}, 0.0, epochs=words[4].epochs)

    monkeypatch.setattr(teachers, "finetune", finetune)
    monkeypatch.setattr(module, "search_rate", searched)
    monkeypatch.setattr(module, "fit_distilled" if distill else "fit_to_labels", fit)
    config = TeacherConfig(lr=lr, label_smoothing=0.1, layer_decay=0.5)
    recipe = Recipe(
        method=Settings(passes=30.4, distill=distill), teacher=config, student=StudentConfig(temperature=2.0)
    )
    trained = METHOD.train(Context(recipe, backbone, task, Run(), None, ""))  # type: ignore[arg-type]
    assert given[0][4].epochs == 30 - teacher - search
    assert sum(trained.epochs.values()) == 30, "teacher, search and training"
    assert (trained.teacher is not None) == METHOD.wants_teacher(recipe.method) == distill
    assert given[0][-1] == 0.1, "trained with all of the section `teacher`"
    rates = {group["lr"] for group in given[0][3]}
    assert max(rates) == (lr or 5e-4)
    assert len(rates) == 5, "three layers of blocks, stem and head"
    if distill:
        assert given[0][8].temperature == 2.0


@pytest.mark.parametrize(
    ("name", "optimizer", "rates"),
    [
        ("shallow", "adamw", RATES),
        ("shallow", "sgd", SGD_RATES),
        ("batch_norm", "adamw", (2e-3, 8e-3, 3.2e-2, 5e-4)),
        ("batch_norm", "sgd", (0.05, 0.2, 0.8, 0.01)),
    ],
)
def test_the_rates_that_are_tried_are_the_optimisers(
    backbone: Backbone, task: Task, monkeypatch: pytest.MonkeyPatch, name: str, optimizer: Any, rates: tuple[float, ...]
) -> None:
    """Also of what is trained beside a frozen backbone: SGD at AdamW's rates would be a weak row of a board."""
    tried: list[float] = []

    def fit(*words: Any) -> None:
        tried.append(words[3][0]["lr"])
        words[6].fitted[words[0]] = Fitted({}, 0.0, epochs=1)

    monkeypatch.setattr(module, "fit_to_labels", fit)
    monkeypatch.setattr(_frozen_backbone, "fit_to_labels", fit)
    recipe = Recipe(teacher=TeacherConfig(epochs=1)).with_method(name)
    run = Run(training=TrainingConfig(optimizer=optimizer))
    methods.find(name).train(Context(recipe, backbone, task, run, None, ""))  # type: ignore[arg-type]
    assert tried[:-1] == list(rates)
    assert tried[-1] in rates


def test_a_net_learns_from_the_teachers_answers(nettailor: CommandLine, digit_folder: Path) -> None:
    words = (
        "--method",
        "blocks_per_stage",
        "method.distill=true",
        "teacher.epochs=1",
        "teacher.lr=0.0005",
        "teacher.batch=16",
    )
    status, said, err = nettailor("adapt", "--data", digit_folder, "--out", "run", "method.passes=3", *words)
    assert status == 0, err
    report = Report.read(Path("run/report.json"))
    assert report.epochs == {"teacher": 1, "blocks_per_stage": 2}
    assert report.teacher is not None
    assert "distill" in said
