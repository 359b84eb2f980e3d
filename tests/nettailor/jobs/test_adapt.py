"""The main job writes the delta, its card and the report last; a finished run is not run again.

Whole adaptations are in tests/recipes/test_adapt.py.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from blocks import Backbone
from nettailor.artifacts.confusion import Confusion
from nettailor.artifacts.pareto import Front
from nettailor.artifacts.predictions import Predictions
from nettailor.artifacts.report import Report
from nettailor.artifacts.run_folder import RunFolder
from nettailor.errors import FileError, TrainingError, UsageError
from nettailor.jobs import adapt as module
from nettailor.jobs.adapt import adapt
from nettailor.jobs.context import resolve
from nettailor.jobs.recipe import Recipe
from nettailor.methods._protocol import Context, Trained
from nettailor.progress import Display
from nettailor.pruning.config import PruneConfig
from nettailor.training.run import Run
from tests import fabricated

QUIET = Display(quiet=True)


@pytest.fixture
def prepared(backbone: Backbone, monkeypatch: pytest.MonkeyPatch) -> list[Trained]:
    """Neither pictures nor training: the network that the method ends with is here, and its figures are ready."""

    @contextmanager
    def open_context(recipe: Recipe, folder: RunFolder, *_: object) -> Iterator[Context]:
        folder.root.mkdir(parents=True, exist_ok=True)
        recipe.write(folder.recipe)
        run = Run(checkpoints=folder.checkpoints)
        run.checkpoints.save("student", {"net.weight": torch.ones(1), "optimizer.x": torch.ones(1)}, {})
        run.seconds.add("student", 2.5)
        task: Any = SimpleNamespace(name="birds", classes=fabricated.CLASSES)
        yield Context(recipe, backbone, task, run, folder, "hash")

    ends = [Trained(fabricated.pruned(backbone), keep=("student",))]
    method = SimpleNamespace(train=lambda context: ends[0], check=lambda recipe: None)
    monkeypatch.setattr(module, "open_context", open_context)
    monkeypatch.setattr(module, "measure", lambda context, trained: (fabricated.report(), fabricated.predictions()))
    monkeypatch.setattr(Recipe, "find_method", lambda recipe: method)
    return ends


def test_a_run_leaves_delta_card_report_and_nets_and_no_checkpoints(prepared: list[Trained], tmp_path: Path) -> None:
    report = adapt(Recipe(), tmp_path / "run", QUIET)
    folder = RunFolder(tmp_path / "run")
    assert Report.read(folder.report) == report
    assert report.seconds["student"] == 2.5
    assert report.seconds["measure"] > 0, "the run's own seconds, and not those of `measure`'s report"
    assert "prepare" not in report.seconds
    assert {path.name for path in folder.delta.iterdir()} == {"task.json", "task.safetensors", "README.md"}
    assert "Measured on 20 test pictures" in (folder.delta / "README.md").read_text()
    assert [path.name for path in folder.nets.iterdir()] == ["student.safetensors"]
    assert not folder.checkpoints.has("student")
    assert not folder.front.exists()
    assert Predictions.read(folder.predictions) == fabricated.predictions()
    assert Confusion.read(folder.confusion).counts == [[2, 1, 0], [0, 1, 0], [1, 0, 0]]
    assert folder.confusion.with_suffix(".png").read_bytes().startswith(b"\x89PNG")


def test_without_matplotlib_a_run_has_no_picture_and_all_the_rest(
    prepared: list[Trained], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    adapt(Recipe(), tmp_path / "run", QUIET)
    folder = RunFolder(tmp_path / "run")
    assert folder.report.is_file()
    assert folder.confusion.is_file()
    assert not folder.confusion.with_suffix(".png").exists()


def test_a_curve_is_written_and_drawn_where_the_method_has_one(
    prepared: list[Trained], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[tuple[object, ...]] = []
    monkeypatch.setattr(module, "draw_front", lambda *what: drawn.append(what))
    prepared[0] = replace(prepared[0], front=lambda: [fabricated.point(1_800_000, 0.92, 0.94)])
    adapt(Recipe(), tmp_path / "run", QUIET)
    front = Front.read(tmp_path / "run" / "front.json")
    assert [point.chosen for point in front.points] == [False, True]
    assert drawn == [(front, tmp_path / "run" / "front.png")]


def test_a_finished_run_is_not_run_again(
    prepared: list[Trained], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = adapt(Recipe(), tmp_path / "run", QUIET)
    left = RunFolder(tmp_path / "run").checkpoints
    left.save("teacher", {}, {})
    prepared.clear()
    assert adapt(Recipe(), tmp_path / "run") == report
    assert "finished already; nothing to run" in capsys.readouterr().out
    assert not left.has("teacher"), "left there by a run that was killed just after its last write"


def test_a_run_that_fails_is_not_finished_and_keeps_its_checkpoints(
    prepared: list[Trained], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(context: Context, trained: Trained) -> Report:
        raise TrainingError("left the finite numbers")

    monkeypatch.setattr(module, "measure", broken)
    with pytest.raises(TrainingError):
        adapt(Recipe(), tmp_path / "run", QUIET)
    folder = RunFolder(tmp_path / "run")
    assert not folder.report.exists()
    assert folder.checkpoints.has("student")


def test_a_folder_of_another_run_is_left_as_it_is(prepared: list[Trained], tmp_path: Path) -> None:
    adapt(Recipe(), tmp_path / "run", QUIET)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "run").rglob("*")}
    with pytest.raises(FileError, match=r"holds another run \(with seed=0\)"):
        adapt(Recipe(seed=1), tmp_path / "run", QUIET)
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "run").rglob("*")} == before


def test_a_curve_that_can_not_be_drawn_is_refused_before_anything_is_trained(
    prepared: list[Trained], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    recipe = resolve(Recipe(prune=PruneConfig(front=True)))
    with pytest.raises(UsageError, match="needs matplotlib"):
        adapt(recipe, tmp_path / "run", QUIET)
    assert not (tmp_path / "run").exists()
