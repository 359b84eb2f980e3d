"""The kept source classifier as a method: how it starts, what is the task's own, and what is refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from blocks import Backbone, KeptClassifier
from blocks.scaled_norm import ScaledNorm
from nettailor.artifacts import delta
from nettailor.artifacts.report import Report
from nettailor.data.task import Task
from nettailor.errors import UsageError
from nettailor.jobs.board_rows import find_row
from nettailor.jobs.context import check_recipe
from nettailor.jobs.recipe import Recipe
from nettailor.methods._protocol import Context
from nettailor.methods.keep_classifier import METHOD
from nettailor.suite.suite import Suite
from nettailor.training.config import TeacherConfig
from nettailor.training.run import Run
from tests.conftest import CommandLine
from tests.tiny import QUICK


def recipe(**own: Any) -> Recipe:
    made = Recipe(teacher=TeacherConfig(epochs=2, batch=16, lr=2e-3)).with_method("keep_classifier")
    return replace(made, method=replace(made.method, **own))


@pytest.fixture
def trained_looking(backbone: Backbone) -> Backbone:
    """Its classifier's rows add up to nothing, as cross entropy leaves them."""
    weight = backbone.head.get_submodule("fc").weight
    assert isinstance(weight, torch.Tensor)
    weight.sub_(weight.mean(0))
    return backbone


def context(recipe: Recipe, backbone: Backbone, task: Task) -> Context:
    return Context(recipe, backbone, task, Run(), None, "")  # type: ignore[arg-type]


def test_defaults_and_the_rows_of_its_board() -> None:
    own = recipe().method
    assert (own.tune_from, own.new_lr, own.optimizer) == ("all", 10.0, "training")  # type: ignore[attr-defined]
    assert own.top() == KeptClassifier(1, "l2", "kept")  # type: ignore[attr-defined]
    row = find_row("keep_classifier+batch+random+2")
    assert row.label == "keep_classifier+random+2+batch"
    assert row.recipe(Recipe()).method.top() == KeptClassifier(2, "batch", "random")  # type: ignore[attr-defined]


def test_every_vector_starts_at_the_length_of_the_scale(trained_looking: Backbone, task: Task) -> None:
    net = METHOD.new_net(context(recipe(scale=20.0, layers=2), trained_looking, task))
    norms = [module for module in net.head.modules() if isinstance(module, ScaledNorm)]
    assert len(norms) == 3
    for norm in norms:
        norm.register_forward_hook(
            lambda _, given, out: torch.testing.assert_close(out.norm(dim=1), torch.full((3,), 20.0))
        )
    net(torch.randn(3, 3, 16, 16))


@pytest.mark.parametrize(("tune_from", "owned"), [("new", False), ("head", True), ("all", True)])
def test_the_source_classifier_is_the_backbones_unless_it_is_trained(
    trained_looking: Backbone, task: Task, tune_from: str, owned: bool
) -> None:
    before = {name: tensor.clone() for name, tensor in trained_looking.state_dict().items()}
    trained = METHOD.train(context(recipe(tune_from=tune_from), trained_looking, task))
    assert trained.epochs == METHOD.stages(recipe()) == {"keep_classifier": 2}
    assert all(torch.equal(tensor, before[name]) for name, tensor in trained_looking.state_dict().items())
    assert ("head.fc.weight" in trained.net.task_tensors()) == owned
    assert trained.net.plan.keeps_source_classifier != owned
    weight = trained.net.head.get_submodule("fc").weight
    assert isinstance(weight, torch.Tensor)
    assert torch.equal(weight, before["head.fc.weight"]) != owned, "trained where it is the task's own"


@pytest.mark.parametrize(
    ("own", "said"),
    [
        ({}, "the source classifier of tiny has random weights, so there is nothing to keep"),
        ({"classifier": "random", "tune_from": "7"}, "method.tune_from: is 7, but tiny has 6 blocks"),
    ],
)
def test_what_the_backbone_does_not_allow_is_refused(
    backbone: Backbone, task: Task, own: dict[str, Any], said: str
) -> None:
    with pytest.raises(UsageError, match=said):
        check_recipe(recipe(**own), backbone, task)
    check_recipe(recipe(classifier="random"), backbone, task)
    check_recipe(recipe(classifier="dropped"), backbone, task)
    check_recipe(recipe(), backbone, task, untrained=True)


def test_bad_settings_are_refused_on_the_command_line(nettailor: CommandLine, digit_folder: Path) -> None:
    words = ("adapt", "--data", digit_folder, "--out", "run", "--method", "keep_classifier", *QUICK)
    for setting, said in (
        ("method.layers=4", "method.layers: input should be less than or equal to 3"),
        ("method.norm=group", "method.norm: input should be 'l2', 'batch' or 'none'"),
        ("method.classifier=lost", "method.classifier: input should be 'kept', 'dropped' or 'random'"),
        ("method.tune_from=17", "method.tune_from: is 17, but resnet34_tiny has 16 blocks"),
    ):
        assert said in nettailor.fails(*words, setting, status=2)
    assert list(Path().iterdir()) == []


@pytest.mark.slow
def test_frozen_it_is_counted_as_the_backbones_and_a_suite_has_it(nettailor: CommandLine, digit_folder: Path) -> None:
    words = ("adapt", "--data", digit_folder, "--out", "run", "--method", "keep_classifier", "method.tune_from=new")
    status, _, err = nettailor(*words, *QUICK)
    assert status == 0, err
    report = Report.read(Path("run/report.json"))
    new = 200 + (200 * 128 + 128) + 128 + (4 * 128 + 4)
    assert report.compact.task_params == new
    assert report.compact.params == report.backbone.params + new + 200 * 128 + 200
    assert report.compact.macs == report.backbone.macs + 128 * 200 + 200 * 128 + 4 * 128
    assert json.loads(Path("run/task/task.json").read_text())["plan"]["top"] == {
        **{"kind": "kept_classifier", "layers": 1, "norm": "l2", "classifier": "kept"}
    }
    assert nettailor("suite", "add", "suite", "run")[0] == 0
    assert nettailor("suite", "pack", "suite", "--out", "packed")[0] == 0
    pictures = torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8)
    wanted = Suite.load("suite")(pictures)
    net = delta.load("run").net
    for place in ("suite", "packed"):
        answers = Suite.load(place)(pictures)
        assert {name: logits.shape[1] for name, logits in answers.items()} == {digit_folder.name: 4}
        assert all(torch.equal(answers[name], wanted[name]) for name in wanted)
    assert net.plan.keeps_source_classifier
    assert "source classifier" in nettailor("show", "run")[1]
