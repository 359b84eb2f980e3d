"""A study from its file to its report: what is finished stays, what was stopped goes on, and nothing is written before it is
checked."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from nettailor.artifacts.lock import lock_folder
from nettailor.artifacts.report import Report
from nettailor.artifacts.study import CellFigures, LayerChanges, read_cells
from nettailor.errors import BackboneError, DataError, FileError, NettailorError, UsageError
from nettailor.jobs import study as module
from nettailor.jobs.job import Job, Outcome
from nettailor.jobs.study import study
from nettailor.progress import Display
from nettailor.training import loop
from tests.fabricated import TINY

pytestmark = pytest.mark.usefixtures("_in_an_empty_folder")
QUIET = Display(quiet=True)


@pytest.fixture
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def written(data: Path | str, factors: dict[str, list[Any]] | None = None, **more: Any) -> Path:
    base = {
        "data": {"source": str(data)},
        "backbone": {"name": TINY, "input_size": 16},
        "teacher": {"epochs": 2, "lr": 0.002, "batch": 16, "start": "fresh"},
        "machine": {"device": "cpu"},
    }
    tree = {"factors": factors or {"rate": [0.002, 0.02]}, "base": base, "change": {"pictures": 12}, **more}
    Path("small.yaml").write_text(yaml.safe_dump(tree))
    return Path("small.yaml")


def timeless(cells: list[CellFigures]) -> list[CellFigures]:
    return [replace(cell, seconds=0.0) for cell in cells]


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_a_study_leaves_lines_pictures_and_a_report_and_is_not_run_again(
    digit_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pair = {"data": {"per_class": 3}, "pretrained_on": {"data": str(digit_folder)}}
    factors: dict[str, list[Any]] = {"rate": [0.002], "seed": [0]}
    path = written(digit_folder, factors, pairs={"a": pair}, baselines=["linear"])
    _, cells, out = study(path, display=QUIET)
    assert out == Path("studies/small").resolve()
    assert [tuple(cell.factors.values()) for cell in cells] == [("a", 0.002, 0), ("a", None, 0)]
    assert read_cells(out / "cells.jsonl") == cells
    for cell in cells:
        report = Report.read(out / cell.folder / "report.json")
        assert cell.test_accuracy == report.compact.test_accuracy
        assert [change.layer for change in cell.layers] == list(range(7))
        assert cell.train == 12
        assert cell.distance is not None
        assert cell.over_scratch is None
    assert cells[0].over_probe == pytest.approx(100 * (cells[0].test_accuracy - cells[1].test_accuracy))
    assert cells[1].over_probe is None
    assert all(change.weights == 0 for change in cells[-1].layers)
    assert all((change.weights or 0) > 0 for change in cells[0].layers)
    assert len(list((out / "distances").iterdir())) == 1
    expected = {"change_by_depth.png", "gain_by_distance.png"}
    assert names(out) == {*expected, "report.md", "cells.jsonl", "cells", "distances", "study.yaml"}
    assert (out / "study.yaml").read_text() == path.read_text()
    monkeypatch.setattr(Job, "run", None)
    assert study(path, display=QUIET)[1] == cells, "nothing is run again"


def stop(*words: object) -> None:
    raise KeyboardInterrupt


@pytest.mark.slow
@pytest.mark.parametrize("stopped_in", ["a pass of the second cell", "the layers of a cell", "the lines"])
def test_a_study_that_was_stopped_goes_on_and_ends_as_if_it_had_not_been(
    digit_folder: Path, monkeypatch: pytest.MonkeyPatch, stopped_in: str
) -> None:
    path = written(digit_folder)
    _, whole, _ = study(path, Path("whole"), display=QUIET)
    real, calls = loop.accuracy, []

    def fourth(*words: Any) -> float:
        calls.append(1)
        return real(*words) if len(calls) != 4 else stop()  # type: ignore[return-value]

    with monkeypatch.context() as patched:
        if stopped_in == "a pass of the second cell":
            patched.setattr("nettailor.training.finetuning.accuracy", fourth)
        elif stopped_in == "the layers of a cell":
            patched.setattr(LayerChanges, "write", stop)
        else:
            patched.setattr(module, "write_cells", stop)
        with pytest.raises(KeyboardInterrupt):
            study(path, Path("stopped"), display=QUIET)
    (Path("stopped") / ".cells.jsonl.abc.tmp").write_text("half a li")
    if stopped_in == "a pass of the second cell":
        assert timeless(read_cells(Path("stopped/cells.jsonl"))) == timeless(whole[:1])
    ran: list[str] = []
    run = Job.run

    def seen(self: Job, *words: Any) -> Report | None:
        ran.append(self.name)
        return run(self, *words)

    monkeypatch.setattr(Job, "run", seen)
    _, again, out = study(path, Path("stopped"), display=QUIET)
    assert timeless(again) == timeless(whole)
    assert len(ran) == {"a pass of the second cell": 1, "the layers of a cell": 2, "the lines": 1}[stopped_in]
    assert not list(out.rglob(".*.tmp"))


@pytest.mark.slow
def test_a_file_may_grow_and_old_cells_are_found(digit_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study(written(digit_folder), display=QUIET)
    ran: list[str] = []
    monkeypatch.setattr(module.CellJob, "run", lambda self, *words: ran.append(self.name))
    factors = {"rate": [0.002, 0.02, 0.2], "training.optimizer": ["adamw", "sgd"]}
    _, cells, _ = study(written(digit_folder, factors), display=QUIET)
    assert [tuple(cell.factors.values()) for cell in cells] == [(0.002, "adamw"), (0.02, "adamw")]
    assert len(ran) == 4


@pytest.mark.parametrize(
    ("factors", "base", "error", "says"),
    [
        ({"raet": [1]}, {}, UsageError, "there is no factor 'raet'; did you mean 'rate'?"),
        ({"rate": []}, {}, UsageError, "factors.rate: is empty"),
        ({"rate": [0]}, {}, UsageError, "cell of rate 0: teacher.lr: input should be greater than 0"),
        ({"tune_from": [7]}, {}, UsageError, "method.tune_from: is 7, but tests.tiny:tiny_resnet has 6 blocks"),
        ({"seed": [0]}, {"data": {"source": "./none.zip"}}, FileError, "none.zip: no such directory or zip"),
        ({"seed": [0]}, {"data": {"thin": {"digit 9": 0.5}}}, UsageError, "data.thin: there is no class 'digit 9'"),
        ({"seed": [0]}, {"backbone": {"name": "resnet34_tny"}}, BackboneError, "did you mean 'resnet34_tiny'"),
        ({"source_classes": [9]}, {}, DataError, "has 4 classes, 9 are asked for"),
        (
            {"method": ["soft"]},
            {"source": {"data": "DIGITS"}},
            UsageError,
            "cell of method soft: source.data: DIGITS is also the target",
        ),
        ({"method": ["soft"]}, {}, UsageError, "cell of method soft: source.data: soft needs pictures of the source"),
        (
            {"method": ["keep_classifier"]},
            {},
            UsageError,
            "method keep_classifier: the source classifier of tests.tiny",
        ),
        (
            {"method": [{"name": "grow_width", "init": "copy", "units": 1.5}]},
            {},
            UsageError,
            "cell of method grow_width init copy, units 1.5: method.init: copy has 16 old units for 24 new ones",
        ),
        (
            {"teacher.method": ["finetune"]},
            {"method": {"name": "nettailor"}, "teacher": {"settings": {"tune_from": 99}}},
            UsageError,
            "cell of teacher.method finetune: method.tune_from: is 99",
        ),
        ({"seed": [0]}, {"pretrained_on": {"data": "none.zip"}}, FileError, "give pretrained_on.data a directory or"),
        ({"method": ["soft"]}, {"source": {"data": "./none.zip"}}, FileError, "give source.data a directory or zip"),
    ],
)
def test_what_can_not_run_is_refused_before_anything_is_written(
    digit_folder: Path, factors: dict[str, list[Any]], base: dict[str, Any], error: type[Exception], says: str
) -> None:
    path = written(digit_folder, factors, pretrain={"data": str(digit_folder)})
    base = json.loads(json.dumps(base).replace("DIGITS", str(digit_folder)))
    with pytest.raises(error) as raised:
        study(path, display=QUIET, overrides=base)
    assert says.replace("DIGITS", str(digit_folder)) in str(raised.value)
    assert names(Path()) == {"small.yaml"}


def test_what_a_small_source_will_have_learnt_is_not_asked_for_before_it_is_there(
    digit_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "run_jobs", lambda *_: Outcome(failed={"x": "stopped here"}))
    factors: dict[str, list[Any]] = {"source_classes": [2], "method": ["keep_classifier"]}
    path = written(digit_folder, factors, pretrain={"data": str(digit_folder)})
    with pytest.raises(NettailorError, match="stopped here"):
        study(path, display=QUIET)


def test_a_study_that_is_run_already_loses_nothing_to_a_second_command(digit_folder: Path) -> None:
    path, root = written(digit_folder), Path("studies/small")
    root.mkdir(parents=True)
    (root / "study.yaml").touch()
    half = root / ".cells.jsonl.abc.tmp"
    half.touch()
    with lock_folder(root), pytest.raises(NettailorError, match="is being worked on by process"):
        study(path, display=QUIET)
    assert half.exists()


def test_a_folder_of_something_else_is_left_alone(digit_folder: Path) -> None:
    Path("other").mkdir()
    Path("other/mine.txt").touch()
    with pytest.raises(FileError, match="is not empty and holds no study; choose another --out"):
        study(written(digit_folder), Path("other"), display=QUIET)
    assert names(Path("other")) == {"mine.txt"}


@pytest.mark.slow
def test_a_cell_that_fails_costs_no_other_and_is_named(digit_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(digit_folder, {"rate": [1e30, 0.002]})
    with pytest.raises(
        NettailorError, match=r"finetune-seed0-\w+: teacher: .*; the same command runs what is not finished"
    ):
        study(path, display=QUIET)
    (line,) = (Path("studies/small/cells.jsonl")).read_text().splitlines()
    assert json.loads(line)["factors"] == {"rate": 0.002}
    assert Path("studies/small/report.md").is_file()
