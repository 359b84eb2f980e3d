"""Another size for a finished student: what of its recipe is kept, and in which unit it counts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from nettailor.errors import FileError
from nettailor.jobs import reprune as module
from nettailor.jobs.recipe import Recipe, parse_recipe, with_costs_of
from nettailor.jobs.reprune import TargetSize, reprune
from nettailor.training.checkpoint import Checkpoints


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Recipe]:
    """The recipes that are run."""
    seen: list[Recipe] = []
    monkeypatch.setattr(module, "adapt", lambda recipe, *_, **__: seen.append(recipe))
    return seen


def finished(folder: Path, tree: dict[str, Any]) -> Path:
    """What a finished run leaves, as far as it is looked at before anything runs."""
    parse_recipe(tree, "test").write(folder / "recipe.yaml")
    for name in ("nets/teacher.safetensors", "nets/student.safetensors", "report.json", "costs.json"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text("{}")
    return folder


SIZES = [TargetSize(drop=1.0), TargetSize(front=True), TargetSize(latency_ms=3.0)]


@pytest.mark.parametrize("target", SIZES)
def test_a_run_that_counts_milliseconds_goes_on_with_its_own_table(
    tmp_path: Path, asked: list[Recipe], target: TargetSize
) -> None:
    reprune(finished(tmp_path, {"cost": "latency"}), target)
    assert (asked[0].cost, asked[0].cost_table) == ("latency", str((tmp_path / "costs.json").resolve()))


@pytest.mark.parametrize("target", SIZES)
def test_a_table_that_the_recipe_names_stays(tmp_path: Path, asked: list[Recipe], target: TargetSize) -> None:
    run = finished(tmp_path, {"cost": "latency", "cost_table": "/somewhere/phone.json"})
    reprune(run, target)
    assert (asked[0].cost, asked[0].cost_table) == ("latency", "/somewhere/phone.json")


def test_another_unit_needs_no_table(tmp_path: Path, asked: list[Recipe]) -> None:
    run = finished(tmp_path, {"cost": "latency", "cost_table": "/somewhere/phone.json"})
    reprune(run, TargetSize(macs=0.5))
    assert (asked[0].cost, asked[0].cost_table) == ("macs", None)
    assert (asked[0].prune.how, asked[0].prune.budget) == ("budget", 0.5)


def test_a_recipe_of_a_run_repeats_it_with_the_milliseconds_measured_there(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    run = finished(tmp_path / "run", {"cost": "latency"})
    recipe = Recipe.read(run / "recipe.yaml")
    assert with_costs_of(recipe, run / "recipe.yaml", tmp_path / "other").cost_table == str(run / "costs.json")
    assert with_costs_of(recipe, run / "recipe.yaml", run) == recipe, "the run itself goes on as it is"
    assert with_costs_of(recipe, tmp_path / "mine.yaml", tmp_path / "other") == recipe


@pytest.mark.parametrize("stages", [("teacher",), ("student", "student-begun")])
def test_a_run_without_a_teacher_or_a_student_is_refused(
    tmp_path: Path, asked: list[Recipe], stages: list[str]
) -> None:
    run = finished(tmp_path, {})
    for file in (run / "nets").iterdir():
        file.unlink()
    for stage in stages:
        (run / f"nets/{stage}.safetensors").write_text("{}")
    with pytest.raises(FileError, match="no finished teacher and student"):
        reprune(run, TargetSize(macs=0.5))
    assert not asked


@pytest.mark.parametrize("is_trained", [False, True])
def test_a_student_that_is_trained_for_another_size_stays_for_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_trained: bool
) -> None:
    run = finished(tmp_path, {})
    student, there = run / "nets/student.safetensors", b"{}"
    if not is_trained:
        student.rename(run / "nets/student-begun.safetensors")

    def adapt(recipe: Recipe, out: Path, *_: Any, **__: Any) -> None:
        Checkpoints(out / "nets").save("student", {"net.weight": torch.ones(2)}, {"seconds": 1.0})

    monkeypatch.setattr(module, "adapt", adapt)
    _, out = reprune(run, TargetSize(macs=0.5))
    here = (out / "nets/student.safetensors").read_bytes()
    assert student.read_bytes() == (there if is_trained else here), "what is there is left as it is"
