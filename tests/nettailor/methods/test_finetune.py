"""Fine-tuning: the stage that every learner's teacher is, without anything behind it."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from blocks import Backbone
from nettailor.data.task import Task
from nettailor.jobs.recipe import Recipe
from nettailor.methods._protocol import Context
from nettailor.methods.finetune import METHOD
from nettailor.training.config import StudentConfig, TeacherConfig
from nettailor.training.run import Fitted, Run


def test_it_is_the_teachers_stage_and_owns_every_tensor(
    backbone: Backbone, task: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def finetune(backbone: Backbone, task: Task, config: TeacherConfig, run: Run) -> Backbone:
        asked.append(config)
        run.fitted["teacher"] = Fitted({}, 0.0, epochs=4)
        return backbone.teacher(4).eval()

    monkeypatch.setattr("nettailor.methods.finetune.finetune", finetune)
    recipe = Recipe(teacher=TeacherConfig(epochs=6), student=StudentConfig(epochs=99)).with_method("finetune")
    run = Run()
    trained = METHOD.train(Context(recipe, backbone, task, run, None, ""))  # type: ignore[arg-type]
    assert asked == [recipe.teacher]
    assert METHOD.stages(recipe) == {"teacher": 6}
    assert trained.epochs == {"teacher": 4}, "those that really ran: it may have stopped early"
    assert trained.keep == ("teacher", "teacher-rate"), "a later run of a method with a teacher begins with it"
    assert set(run.seconds.totals) == {"teacher"}
    shared = {tensor.data_ptr() for tensor in backbone.state_dict().values()}
    assert not any(tensor.data_ptr() in shared for tensor in trained.net.state_dict().values())
    with torch.no_grad():
        assert trained.net(torch.zeros(1, 3, 16, 16)).shape == (1, 4)


def test_it_may_be_trained_longer_than_a_teacher(backbone: Backbone, task: Task) -> None:
    recipe = Recipe(teacher=TeacherConfig(epochs=1, batch=16, lr=2e-3)).with_method("finetune")
    longer = replace(recipe, method=replace(recipe.method, passes=3))  # type: ignore[call-arg]
    trained = METHOD.train(Context(longer, backbone, task, Run(), None, ""))  # type: ignore[arg-type]
    assert trained.epochs == {"teacher": 3}
