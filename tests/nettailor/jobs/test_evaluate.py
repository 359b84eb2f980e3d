"""Evaluation: which pictures are read, and that files from elsewhere choose none of them."""

from __future__ import annotations

import shutil
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from PIL import Image
from torchvision.datasets import CIFAR10

from blocks import Plan, TailoredNet, compact
from nettailor.artifacts import delta
from nettailor.artifacts.confusion import Confusion, balanced_accuracy
from nettailor.backbones.load import load_backbone
from nettailor.data.config import DataConfig
from nettailor.data.task import Task, load_task
from nettailor.errors import DataError, FileError, UsageError
from nettailor.files import read_json, write_json
from nettailor.jobs.evaluate import Evaluation, evaluate
from nettailor.jobs.recipe import Recipe, own_recipe
from nettailor.training.loop import accuracy, predictions
from tests.conftest import CommandLine

CPU = torch.device("cpu")
HOSTILE = {
    "data": {"source": "/etc", "root": "/etc", "group": "^(a+)+$"},
    "backbone": {"name": "hostile_code:build", "weights": "/etc/passwd"},
    "student": {"proxies": "hostile_code:build"},
}


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory, digit_folder: Path) -> Path:
    """The small digits in class folders without splits."""
    root = tmp_path_factory.mktemp("pictures") / "all"
    for picture in sorted(digit_folder.rglob("*.png")):
        (root / picture.parent.name).mkdir(parents=True, exist_ok=True)
        shutil.copy(picture, root / picture.parent.name)
    return root


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, pictures: Path) -> Path:
    """A run's folder: recipe, split and the delta of an untrained student."""
    run = tmp_path_factory.mktemp("runs") / "four"
    backbone = load_backbone()
    recipe = Recipe(seed=5, task="four", data=DataConfig(source=str(pictures)))
    task = load_task(recipe.data, backbone.spec, recipe.seed)
    net = compact(TailoredNet(backbone, len(task.classes), Plan()))
    delta.save(net, run / "task", "four", task.classes, settings=recipe.as_dict())
    recipe.write(run / "recipe.yaml")
    write_json(run / "split.json", {"sha256": task.fingerprint(), **task.record()})
    return run


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Path:
    """A copy to be changed."""
    return shutil.copytree(finished, tmp_path / "run")


def own_task(pictures: Path, seed: int = 5) -> Task:
    return load_task(str(pictures), load_backbone().spec, seed)


def hostile(folder: Path, **changes: Any) -> dict[str, Any]:
    """Settings that choose everything they could, in a delta's description."""
    settings = Recipe().as_dict()
    for section, keys in {**HOSTILE, **changes}.items():
        settings[section] = {**settings[section], **keys}
    write_json(folder / "task.json", {**read_json(folder / "task.json"), "settings": settings})
    return settings


def write_recipe(path: Path, tree: dict[str, Any]) -> None:
    path.write_text(yaml.safe_dump(tree))


def test_a_run_is_measured_on_its_own_test_pictures(run: Path, pictures: Path) -> None:
    loaded, task = delta.load(run), own_task(pictures)
    found, labels = evaluate(run, loaded, CPU), task.test.labels.tolist()
    said = predictions(loaded.net, task.test).tolist()
    confusion = Confusion.of("run", task.classes, labels, said)
    balanced = balanced_accuracy(labels, said)
    assert found == Evaluation(accuracy(loaded.net, task.test), len(task.test), "test", balanced, confusion)
    assert evaluate(run, loaded, CPU, split="train").pictures == len(task.train)


def test_the_split_is_the_run_s_own_even_where_it_would_be_drawn_otherwise_today(run: Path, pictures: Path) -> None:
    other = own_task(pictures, seed=11)
    write_json(run / "split.json", {"sha256": "", **other.record()})
    loaded = delta.load(run)
    assert evaluate(run, loaded, CPU).accuracy == accuracy(loaded.net, other.test)
    (run / "split.json").unlink()
    (run / "report.json").write_text("{}")
    assert evaluate(run, loaded, CPU).accuracy == accuracy(loaded.net, own_task(pictures).test)


def test_pictures_without_splits_are_all_measured(run: Path, pictures: Path, digit_folder: Path) -> None:
    loaded = delta.load(run)
    everything = evaluate(run, loaded, CPU, str(pictures))
    assert (everything.pictures, everything.split) == (96, None)
    parts = [evaluate(run, loaded, CPU, str(pictures), split) for split in ("train", "val", "test")]
    assert sum(part.pictures for part in parts) == 96
    right = sum(part.accuracy * part.pictures for part in parts)
    assert everything.accuracy * 96 == pytest.approx(right)
    split = evaluate(run, loaded, CPU, str(digit_folder))
    assert (split.pictures, split.split) == (24, "test")


def test_the_command_says_what_was_measured(run: Path, pictures: Path, nettailor: CommandLine) -> None:
    status, said, _ = nettailor("eval", run)
    assert status == 0
    assert "of 18 test pictures right" in said or "of 20 test pictures right" in said
    assert "mean over the classes 0." in said
    assert "; most often confused: digit " in said, "it is untrained"
    status, said, _ = nettailor("eval", run / "task", "--data", pictures)
    assert status == 0
    assert "of 96 pictures right" in said


def test_a_bad_picture_is_named_or_left_out(run: Path, pictures: Path, tmp_path: Path) -> None:
    root, loaded = shutil.copytree(pictures, tmp_path / "bad"), delta.load(run)
    bad = sorted((root / "digit 1").iterdir())[3]
    bad.write_bytes(bad.read_bytes()[:60])
    with pytest.raises(DataError, match=bad.name):
        evaluate(run, loaded, CPU, str(root))
    assert evaluate(run, loaded, CPU, str(root), skip_bad=True).pictures == 95


def test_other_classes_are_refused(run: Path, tmp_path: Path) -> None:
    for label in ("cat", "dog"):
        (tmp_path / "pets" / label).mkdir(parents=True)
        Image.new("L", (8, 8)).save(tmp_path / "pets" / label / "1.png")
    with pytest.raises(FileError, match="has other classes than the task"):
        evaluate(run, delta.load(run), CPU, str(tmp_path / "pets"))


def test_a_run_s_folder_is_one_that_was_named_itself(run: Path) -> None:
    assert own_recipe(run) is not None
    assert own_recipe(run / "task") is None, "the user named the delta, whatever lies beside it"
    (run / "split.json").rename(run / "task" / "split.json")
    assert own_recipe(run) is None, "a recipe and a delta alone make no run"
    (run / "recipe.yaml").rename(run / "task" / "recipe.yaml")
    assert own_recipe(run / "task") is None, "nor does a recipe in the delta's folder"


@pytest.mark.parametrize("beside", [False, True])
def test_a_delta_s_settings_choose_no_pictures(run: Path, nettailor: CommandLine, pictures: Path, beside: bool) -> None:
    settings = hostile(run / "task")
    named = run / "task" if beside else shutil.copytree(run / "task", "lonely")
    write_recipe(run / "recipe.yaml", settings)
    assert "name some with --data" in nettailor.fails("eval", named, status=2)
    assert nettailor("eval", named, "--data", pictures)[0] == 0
    picture = next(pictures.rglob("*.png"))
    assert nettailor("predict", named, picture)[0] == 0, "neither weights nor code are taken from what lies around"
    assert nettailor("show", named)[0] == 0


def test_a_pattern_in_somebody_s_settings_is_not_matched(run: Path, pictures: Path, tmp_path: Path) -> None:
    """`^(a+)+$` takes practically forever on such a file name."""
    root = shutil.copytree(pictures, tmp_path / "slow")
    for picture in sorted(root.rglob("*.png")):
        picture.rename(picture.with_name("a" * 60 + picture.name))
    settings = hostile(run / "task", data={"source": str(root), "group": "^(a+)+$"})
    loaded, began = delta.load(run), time.monotonic()
    assert evaluate(run / "task", loaded, CPU, str(root), "val").pictures > 0
    recipe = Recipe(data=replace(Recipe().data, source=str(root)))
    task = load_task(recipe.data, loaded.net.spec)
    write_recipe(run / "recipe.yaml", {"data": settings["data"]})
    write_json(run / "split.json", {"sha256": "", **task.record()})
    assert evaluate(run, loaded, CPU).pictures == len(task.test), "a run's split is written down"
    assert time.monotonic() - began < 120


def test_neither_code_nor_pictures_are_fetched_for_a_run_s_recipe(
    run: Path, nettailor: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fetch(*_: object, **__: object) -> None:
        raise AssertionError("a network was asked")

    monkeypatch.setattr(CIFAR10, "download", fetch)
    Path("hostile_code.py").write_text("open('ran', 'w').close()\ndef build(*_): ...\n")
    monkeypatch.syspath_prepend(str(Path.cwd()))
    code = {"student": HOSTILE["student"], "backbone": {"name": HOSTILE["backbone"]["name"]}}
    recipe = {"data": {"source": "CIFAR10", "root": str(run)}, **code}
    write_recipe(run / "recipe.yaml", recipe)
    said = nettailor.fails("eval", run)
    assert "CIFAR10: is not under" in said
    assert "name it with --data" in said
    write_recipe(run / "recipe.yaml", {"data": {"source": "lsun", "root": str(run)}})
    assert "LSUN: is read by running what its files say" in nettailor.fails("eval", run)
    assert nettailor("show", run)[0] == 0
    assert not Path("ran").exists()


def test_a_data_set_that_the_user_names_is_fetched(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr(CIFAR10, "download", lambda self: asked.append(self.train))
    with pytest.raises(DataError, match="can't be fetched"):
        evaluate(run, delta.load(run), CPU, "cifar10")
    assert asked == [True]


def test_the_weights_of_a_run_come_from_its_own_recipe_alone(run: Path, nettailor: CommandLine, pictures: Path) -> None:
    write_recipe(run / "recipe.yaml", {"backbone": {"weights": "moved.safetensors"}})
    picture = next(pictures.rglob("*.png"))
    assert "moved.safetensors" in nettailor.fails("predict", run, picture)
    assert nettailor("predict", run / "task", picture)[0] == 0


def test_a_bare_delta_is_refused_by_the_job_too(run: Path) -> None:
    with pytest.raises(UsageError, match="is a delta and no run"):
        evaluate(run / "task", delta.load(run), CPU)
