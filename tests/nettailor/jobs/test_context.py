"""A resolved recipe names its pictures so that running it again repeats the run."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from nettailor.artifacts.run_folder import RunFolder
from nettailor.backbones.load import load_backbone
from nettailor.config.loading import differences
from nettailor.data.config import DataConfig
from nettailor.jobs.context import open_context, resolve, usual_folder
from nettailor.jobs.recipe import Recipe
from nettailor.progress import Display
from nettailor.training.config import TeacherConfig, TrainingConfig
from tests.conftest import CommandLine
from tests.tiny import QUICK


@pytest.mark.parametrize(
    ("given", "source", "task"),
    [
        ("digits", "digits", "digits"),
        ("CIFAR10", "CIFAR10", "CIFAR10"),
        ("./digits", "HERE/digits", "digits"),
        ("pictures", "HERE/pictures", "pictures"),
        ("pictures.zip", "HERE/pictures.zip", "pictures"),
    ],
)
def test_names_of_data_sets_stay_names_and_paths_become_absolute(
    given: str, source: str, task: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for folder in ("digits", "CIFAR10", "pictures"):
        (tmp_path / folder).mkdir()
    (tmp_path / "pictures.zip").touch()
    resolved = resolve(Recipe(data=DataConfig(source=given)))
    assert resolved.data.source == source.replace("HERE", str(tmp_path))
    assert resolved.task == task
    assert not differences(resolve(resolved).as_dict(), resolved.as_dict())


def test_a_run_in_a_folder_that_is_called_like_its_data_is_its_own(nettailor: CommandLine) -> None:
    """A training that diverges leaves a run that has begun; the same command goes on with it, to the same end."""
    command = ("adapt", "--out", "digits", *QUICK, "teacher.lr=1e30")
    first = nettailor.fails(*command)
    assert Path("digits/split.json").is_file()
    assert nettailor.fails(*command) == first
    assert "holds another run" not in first
    assert str(Path("digits").resolve()) in nettailor.fails("adapt", "--data", "./digits", "--out", "other")


@pytest.mark.slow
def test_a_finished_run_in_a_folder_that_is_called_like_its_data_is_not_run_again(nettailor: CommandLine) -> None:
    command = ("adapt", "--out", "digits", *QUICK, "data.train_limit=60")
    status, _, failed = nettailor(*command)
    assert status == 0, failed
    status, said, failed = nettailor(*command)
    assert status == 0, failed
    assert "finished already" in said


def test_each_method_has_a_usual_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    ours = Recipe(task="digits")
    linear, paper = ours.with_method("linear"), ours.with_method("paper")
    assert [usual_folder(recipe).as_posix() for recipe in (ours, linear)] == ["runs/digits", "runs/digits-linear"]
    Path("runs/digits").mkdir(parents=True)
    paper.write(Path("runs/digits/recipe.yaml"))
    assert usual_folder(paper).as_posix() == "runs/digits", "a run that is there goes on"
    assert usual_folder(linear).as_posix() == "runs/digits-linear"


def test_the_section_training_is_what_the_run_trains_by(digit_folder: Path, tmp_path: Path) -> None:
    data = DataConfig(source=str(digit_folder))
    recipe = resolve(Recipe(data=data, training=TrainingConfig(ema=0.5, optimizer="sgd")))
    with open_context(recipe, RunFolder(tmp_path / "run"), Display(quiet=True)) as context:
        assert context.run.training == recipe.training


@pytest.mark.parametrize(("room", "device"), [(True, "cpu"), (False, "cpu"), (True, "meta")])
def test_freed_memory_is_kept_where_a_batch_leaves_room_for_it(
    digit_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, room: bool, device: str
) -> None:
    """By the larger batch of teacher and student; on the CPU alone, for which any other device stands here."""
    kept: list[bool] = []
    recipe = resolve(Recipe(data=DataConfig(source=str(digit_folder)), teacher=TeacherConfig(batch=8)))
    shapes = load_backbone("resnet34_tiny").shapes
    needed = 36 * recipe.student.batch * 4 * sum(math.prod(shape) for shape in shapes)
    monkeypatch.setattr("nettailor.jobs.context.machine_memory", lambda: needed - (not room))
    monkeypatch.setattr("nettailor.jobs.context.keep_large_tensors", lambda: kept.append(True))
    monkeypatch.setattr("nettailor.jobs.context.pick_device", lambda _: torch.device(device))
    with open_context(recipe, RunFolder(tmp_path / "run"), Display(quiet=True)):
        pass
    assert kept == [True] * (room and device == "cpu")
