"""The freezing curve: a run for each first trained layer, chosen by validation, resumable."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from nettailor.artifacts.freezing import Freezing
from nettailor.artifacts.report import Report
from nettailor.errors import FileError
from nettailor.jobs.freezing import first_layers
from nettailor.jobs.recipe import Recipe
from nettailor.views.freezing import freezing_table
from tests import fabricated
from tests.conftest import CommandLine
from tests.tiny import QUICK, tiny_backbone

SEARCH = ("adapt", "--backbone", "tests.tiny:tiny_resnet", "backbone.input_size=16", "--search-freezing", *QUICK)
RANDOM = ("--method", "keep_classifier", "method.classifier=random")


def test_layers_go_from_the_top_down() -> None:
    backbone = tiny_backbone()
    down = ["layer4.0", "layer3.0", "layer2.1", "layer2.0", "layer1.1", "layer1.0"]
    kept = Recipe().with_method("keep_classifier")
    assert first_layers(kept, backbone) == ["new", "head", *down, "all"]
    assert first_layers(kept, backbone, 4) == ["new", "head", "layer4.0", "layer1.1", "all"]
    random = replace(kept, method=replace(kept.method, classifier="random"))  # type: ignore[call-arg]
    for recipe in (random, Recipe().with_method("finetune")):
        assert first_layers(recipe, backbone) == ["new", *down, "all"], "its head has nothing else to train"


def test_validation_chooses_and_of_equals_the_one_that_trains_least(tmp_path: Path) -> None:
    def run(val: float, test: float) -> Report:
        report = fabricated.report()
        return replace(report, compact=replace(report.compact, val_accuracy=val, test_accuracy=test))

    found = Freezing.of({"new": run(0.5, 0.9), "layer4.0": run(0.8, 0.6), "all": run(0.8, 0.7)})
    assert found.chosen == "layer4.0"
    found.write(tmp_path / "freezing.json")
    assert Freezing.read(tmp_path / "freezing.json") == found
    rows = list(freezing_table(found).columns[0].cells)
    assert rows == ["new", "layer4.0 *", "all"]
    (tmp_path / "freezing.json").write_text("{}")
    with pytest.raises(FileError, match="is it a freezing curve of another version"):
        Freezing.read(tmp_path / "freezing.json")


def test_the_command_runs_each_once_and_draws_the_curve(nettailor: CommandLine, digit_folder: Path) -> None:
    words = (*SEARCH, *RANDOM, "--data", digit_folder, "--every", "6", "--out", "curve")
    status, said, err = nettailor(*words)
    assert status == 0, err
    found = Freezing.read(Path("curve/freezing.json"))
    layers = ["new", "layer4.0", "all"]
    assert [point.tune_from for point in found.points] == layers
    assert found.chosen in layers
    assert f"chosen   curve/{found.chosen}" in said
    assert Path("curve/freezing.png").read_bytes().startswith(b"\x89PNG")
    sizes = [point.task_params for point in found.points]
    assert sizes == sorted(sizes)
    for point in found.points:
        tree = json.loads((Path("curve") / point.tune_from / "task" / "task.json").read_text())
        assert tree["settings"]["method"]["tune_from"] == point.tune_from
    shutil.rmtree("curve/layer4.0")
    before = {layer: Path(f"curve/{layer}/report.json").stat().st_mtime_ns for layer in ("new", "all")}
    assert nettailor(*words)[0] == 0
    assert {layer: Path(f"curve/{layer}/report.json").stat().st_mtime_ns for layer in before} == before
    again = Freezing.read(Path("curve/freezing.json"))
    assert [replace(p, seconds=0.0) for p in again.points] == [replace(p, seconds=0.0) for p in found.points]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--method", "linear"), "--search-freezing: method linear has no setting tune_from"),
        (("--method", "finetune", "method.tune_from=2"), "method.tune_from: is 2, but --search-freezing tries every"),
        (("--method", "finetune", "--every", "0"), "--every: must be at least 1"),
        (("--method", "soft", "source.data=DIGITS"), "is also the target, and class 'digit 0' is in both"),
        (("--method", "keep_classifier"), "the source classifier of tests.tiny:tiny_resnet has random weights"),
    ],
)
def test_bad_input_writes_nothing(
    nettailor: CommandLine, digit_folder: Path, words: tuple[str, ...], said: str
) -> None:
    words = tuple(word.replace("DIGITS", str(digit_folder)) for word in words)
    assert said in nettailor.fails(*SEARCH, "--data", digit_folder, "--out", "curve", *words, status=2)
    assert list(Path().iterdir()) == []
    assert "--every: is for --search-freezing" in nettailor.fails("adapt", "--every", "2", status=2)


def test_a_folder_that_holds_a_run_is_not_taken(nettailor: CommandLine, digit_folder: Path) -> None:
    Path("run").mkdir()
    Path("run/recipe.yaml").touch()
    words = (*SEARCH, "--method", "finetune", "--data", digit_folder, "--out", "run")
    assert "--out run: holds a run" in nettailor.fails(*words, status=2)
