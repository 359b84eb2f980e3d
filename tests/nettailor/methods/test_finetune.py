"""Fine-tuning: the stage that every learner's teacher is, without anything behind it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from blocks import Backbone
from nettailor.data.task import Task
from nettailor.errors import UsageError
from nettailor.jobs.board_rows import find_row
from nettailor.jobs.recipe import Recipe
from nettailor.methods._protocol import Context
from nettailor.methods._tuned import TuneSettings, first_tuned, with_optimizer
from nettailor.methods.finetune import METHOD
from nettailor.training.config import StudentConfig, TeacherConfig, TrainingConfig
from nettailor.training.finetuning import tuned_groups
from nettailor.training.optimizers import step_factor
from nettailor.training.run import Fitted, Run
from tests.conftest import CommandLine
from tests.tiny import QUICK


def test_it_is_the_teachers_stage_and_owns_every_tensor(
    backbone: Backbone, task: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def finetune(backbone: Backbone, task: Task, config: TeacherConfig, run: Run, *_: object) -> Backbone:
        asked.append(config)
        run.fitted["teacher"] = Fitted({}, 0.0, epochs=4)
        return backbone.teacher(4).eval()

    monkeypatch.setattr("nettailor.methods._tuned.finetune", finetune)
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


@pytest.mark.parametrize(
    ("tune_from", "first"),
    [("all", 0), ("new", 8), ("head", 7), (3, 3), ("layer3.0", 5), ("6", 6)],
)
def test_it_is_tuned_from_a_layer_up(backbone: Backbone, task: Task, tune_from: str | int, first: int) -> None:
    assert first_tuned(tune_from, backbone) == first
    recipe = Recipe(teacher=TeacherConfig(epochs=1, batch=16, lr=2e-3)).with_method("finetune")
    recipe = replace(recipe, method=replace(recipe.method, tune_from=tune_from))  # type: ignore[call-arg]
    trained = METHOD.train(Context(recipe, backbone, task, Run(), None, ""))  # type: ignore[arg-type]
    assert trained.net.plan.tuned_from == first


@pytest.mark.parametrize(
    ("tune_from", "said"),
    [
        ("7", "is 7, but tiny has 6 blocks"),
        ("layer3.9", r"no block 'layer3.9'; did you mean 'layer3.[01]'"),
        ("x", "give all"),
    ],
)
def test_a_block_that_is_not_there_is_refused(backbone: Backbone, tune_from: str, said: str) -> None:
    with pytest.raises(UsageError, match=f"method.tune_from: .*{said}"):
        first_tuned(tune_from, backbone)


def test_what_is_new_learns_faster(backbone: Backbone) -> None:
    net, config = backbone.teacher(4, 5), TeacherConfig(weight_decay=0.1, layer_decay=0.5)
    groups = tuned_groups(net, 1.0, config, new_lr=10.0)
    rates = {id(parameter): group["lr"] for group in groups for parameter in group["params"]}
    assert set(rates) == {id(parameter) for parameter in net.parameters() if parameter.requires_grad}
    assert {rates[id(parameter)] for parameter in net.head.parameters()} == {10.0}
    assert {rates[id(parameter)] for parameter in net.blocks[5].parameters()} == {0.5}
    assert {rates[id(parameter)] for parameter in net.blocks[4].parameters()} == {0.25}


def test_sgd_as_published(backbone: Backbone, task: Task, monkeypatch: pytest.MonkeyPatch) -> None:
    own, run = TuneSettings("finetune", optimizer="sgd"), Run(training=TrainingConfig(ema=0.9))
    config, published = with_optimizer(own, TeacherConfig(), run)
    assert config.weight_decay == 5e-4
    made = vars(published.training)
    assert (made["optimizer"], made["momentum"], made["schedule"], made["ema"]) == ("sgd", 0.9, "step", 0.9)
    assert step_factor(published.training, 74, 100) == pytest.approx(0.1)
    assert step_factor(published.training, 75, 100) == pytest.approx(0.01)
    assert with_optimizer(replace(own, optimizer="training"), TeacherConfig(), run) == (TeacherConfig(), run)


def test_any_depth_from_the_command_line_a_recipe_and_a_board(nettailor: CommandLine, digit_folder: Path) -> None:
    small = ("--backbone", "tests.tiny:tiny_resnet", "backbone.input_size=16", "--data", digit_folder, *QUICK)
    words = ("adapt", *small, "--out", "run", "--method", "finetune", "method.tune_from=layer3.0", "method.new_lr=10")
    status, _, err = nettailor(*words)
    assert status == 0, err
    Path("mine.yaml").write_text("method: {name: finetune, tune_from: layer3.0, new_lr: 10}\n")
    assert nettailor("adapt", *small, "--out", "again", "--recipe", "mine.yaml")[0] == 0
    plans = [json.loads(Path(run, "task", "task.json").read_text())["plan"] for run in ("run", "again")]
    assert [plan["tuned_from"] for plan in plans] == [5, 5]
    tensors = [Path(run, "task", "task.safetensors").read_bytes() for run in ("run", "again")]
    assert tensors[0] == tensors[1]
    said = nettailor.fails("adapt", *small, "--out", "no", "--method", "finetune", "method.tune_from=9", status=2)
    assert "method.tune_from: is 9, but tests.tiny:tiny_resnet has 6 blocks; give 1 to 6" in said
    assert not Path("no").exists(), "nothing is written"
    assert find_row("finetune+new").recipe(Recipe()).method.tune_from == "new"  # type: ignore[attr-defined]
