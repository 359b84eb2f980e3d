"""`student.shared_prefix`: who can have one, and a run from start to end."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import yaml

from blocks import Backbone
from blocks.counting import tensors_of
from blocks.untouched import untouched
from nettailor import methods
from nettailor.artifacts import delta
from nettailor.artifacts.report import Report
from nettailor.artifacts.run_folder import RunFolder
from nettailor.backbones.load import load_backbone
from nettailor.config.loading import differences
from nettailor.data.task import Task
from nettailor.errors import FileError, UsageError
from nettailor.files import read_json, write_json
from nettailor.jobs.recipe import Recipe
from nettailor.training.config import StudentConfig
from nettailor.training.run import Run
from nettailor.training.stages import new_student, start_for
from tests.conftest import CommandLine
from tests.nettailor.conftest import TEACHER
from tests.tiny import QUICK

TINY = ("--backbone", "tests.tiny:tiny_resnet", "backbone.input_size=16")
SHARED = StudentConfig(shared_prefix=2)


@pytest.mark.parametrize("name", methods.names())
def test_a_method_has_a_prefix_or_refuses_it_before_anything_is_loaded(name: str) -> None:
    recipe = replace(Recipe().with_method(name), student=SHARED)
    method = recipe.find_method()
    if method.shares_prefix:
        method.check(recipe)
        assert recipe.with_method(name).student.shared_prefix == 2
    else:
        with pytest.raises(UsageError, match=f"student.shared_prefix: method {name} can't leave the first blocks"):
            method.check(recipe)


def test_a_prefix_goes_along_to_the_methods_that_can_have_one() -> None:
    recipe = Recipe(student=SHARED)
    assert recipe.with_method("paper").student == replace(Recipe().with_method("paper").student, shared_prefix=2)
    for name in ("finetune", "linear"):
        other = recipe.with_method(name)
        assert other.student == StudentConfig()
        other.find_method().check(other)


def test_recipes_of_older_runs_have_no_prefix(tmp_path: Path) -> None:
    tree = Recipe().as_dict()
    del tree["student"]["shared_prefix"]
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(tree))
    there = Recipe.read(RunFolder(tmp_path).recipe)
    assert there.student.shared_prefix == 0
    assert not differences(there.as_dict(), Recipe().as_dict())
    assert differences(there.as_dict(), Recipe(student=SHARED).as_dict()) == {
        "student.shared_prefix": "student.shared_prefix=0"
    }


def test_more_blocks_than_there_are_is_a_plain_error_before_any_training(backbone: Backbone, task: Task) -> None:
    with pytest.raises(UsageError, match=r"student\.shared_prefix: is 7, but tiny has 6 universal blocks"):
        new_student(backbone, task, StudentConfig(shared_prefix=7), Run())


def test_a_student_begins_as_a_network_that_was_tuned_behind_the_prefix(backbone: Backbone, task: Task) -> None:
    run = Run(rate=2e-3)
    student, whole = new_student(backbone, task, SHARED, run), backbone.teacher(4)
    before = {name: tensor.clone() for name, tensor in tensors_of(backbone).items()}
    start = start_for(student, whole, task, TEACHER, SHARED, run)
    assert start is not whole
    assert "start" in run.fitted
    now, teacher = tensors_of(backbone), tensors_of(start)
    assert all(torch.equal(now[name], before[name]) for name in now)
    moved = {name for name, tensor in teacher.items() if name in now and not torch.equal(tensor, now[name])}
    assert not any(name.startswith(("stem.", "blocks.0.", "blocks.1.")) for name in moved)
    assert any(name.startswith("blocks.2.") and "running_mean" in name for name in moved)
    for settings in (StudentConfig(), replace(SHARED, start="backbone")):
        assert start_for(student, whole, task, TEACHER, settings, Run()) is whole


@pytest.fixture
def finished(nettailor: CommandLine, digit_folder: Path, tmp_path: Path) -> Path:
    """A run whose first four blocks are shared."""
    out = tmp_path / "run"
    words = ("--data", digit_folder, "--out", out, *QUICK, *TINY, "student.shared_prefix=4", "prune.folds=0")
    status, _, failed = nettailor("adapt", *words)
    assert status == 0, failed
    return out


def test_a_delta_says_its_prefix_and_loads_to_the_same_bits(finished: Path, nettailor: CommandLine) -> None:
    backbone = load_backbone(TINY[1], None, 16)
    report = Report.read(finished / "report.json")
    assert report.epochs["start"] == 1
    description = finished / "task" / "task.json"
    assert read_json(description)["plan"]["shared_prefix"] == 4
    net = delta.load(finished, backbone).net
    steps = untouched(net)
    assert [step.layer for step in steps] == [0, 1, 2, 3, 4]
    assert not any(name.startswith(("stem", "blocks.4.")) for name in net.task_tensors())
    again = finished.parent / "again"
    delta.save(net, again, "digits", delta.load(finished, backbone).classes)
    x = torch.randn(2, 3, 16, 16)
    assert torch.equal(delta.load(again, backbone).net(x), net(x))
    said = read_json(finished / "predictions.json")
    assert len(said["test"]["compact"]) == report.data.test
    size = nettailor.fails("prune", finished, "--macs", "0.2")
    assert "blocks 1 to 4 stay (student.shared_prefix)" in size
    for wrong, says in (
        (3, "does not fit this network"),
        (9, "not their universal blocks alone"),
        (-1, "plan.shared_prefix"),
    ):
        tree = json.loads(description.read_text())
        tree["plan"]["shared_prefix"] = wrong
        write_json(description, tree)
        with pytest.raises(FileError, match=says):
            delta.load(finished, backbone)


def test_a_delta_without_a_prefix_is_written_as_before(tmp_path: Path, backbone: Backbone) -> None:
    from blocks import Plan, TailoredNet, compact

    delta.save(compact(TailoredNet(backbone, 2, Plan()).eval()), tmp_path, "digits", ["a", "b"])
    assert "shared_prefix" not in read_json(tmp_path / "task.json")["plan"]
