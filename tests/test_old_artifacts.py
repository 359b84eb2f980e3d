"""What version 0.1.0 wrote can still be read, evaluated, pruned and resumed (tests/artifacts/v0.1.0, docs/0.1.0)."""

from __future__ import annotations

import shutil
import warnings
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

import nettailor as nt
from nettailor.artifacts import delta
from nettailor.artifacts.pareto import Front
from nettailor.artifacts.report import Report
from nettailor.data.batches import normalise
from tests.conftest import CommandLine

HERE = Path(__file__).parent
KEPT = HERE / "artifacts" / "v0.1.0"
MADE_IN = "/tmp/nettailor-v0.1.0"  # the paths in the kept recipe begin with it
BOARD = HERE.parent / "docs" / "0.1.0" / "board"


@pytest.fixture
def old(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the kept folder, whose recipe names the copy's own pictures and weights."""
    root = shutil.copytree(KEPT, tmp_path / "old")
    for path in (root / "run" / "recipe.yaml", root / "run" / "task" / "task.json"):
        path.write_text(path.read_text().replace(MADE_IN, str(root)))
    monkeypatch.syspath_prepend(str(root))
    return root


def over_tiny(old: Path) -> tuple[str | Path, ...]:
    return "--backbone", "tiny_v010:tiny_resnet", "--weights", old / "tiny.safetensors"


def test_a_delta_of_format_1_answers_as_it_did_and_says_what_is_not_checked() -> None:
    with pytest.warns(delta.UncheckedWarning, match=r"task\.json: is of format 1, .*strides, padding, eps"):
        loaded = nt.load(KEPT / "embedded")
    task = nt.load_task(str(KEPT / "pictures"), loaded.net.spec)
    with torch.no_grad():
        logits = loaded.net(
            normalise(task.test.batch(torch.arange(len(task.test))), loaded.net.spec, torch.device("cpu"))
        )
    kept = load_file(KEPT / "embedded" / "logits.safetensors")["logits"]
    torch.testing.assert_close(logits, kept, rtol=1e-4, atol=1e-4)
    assert loaded.classes == ["digit 0", "digit 1", "digit 2"]
    assert {path.is_universal for path in loaded.net.paths} == {True, False}


def test_saved_anew_nothing_is_left_unchecked(tmp_path: Path) -> None:
    with pytest.warns(delta.UncheckedWarning):
        loaded = nt.load(KEPT / "embedded")
    description = loaded.description
    nt.save(loaded.net, tmp_path, description.task, description.classes, settings=description.settings)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        again = nt.load(tmp_path)
    x = torch.rand(2, 3, 32, 32)
    assert torch.equal(again.net(x), loaded.net(x))


def test_the_command_line_prints_the_warning_as_one_line(nettailor: CommandLine) -> None:
    picture = next((KEPT / "pictures").rglob("*.png"))
    status, said, warned = nettailor("predict", KEPT / "embedded", picture)
    assert status == 0
    assert "digit" in said
    (line,) = warned.strip().splitlines()
    assert line.startswith("nettailor: ")
    assert "format 1" in line


def test_an_old_run_is_shown_evaluated_and_predicted_with(nettailor: CommandLine, old: Path) -> None:
    status, said, warned = nettailor("show", old / "run", "--html", "page.html", *over_tiny(old))
    assert status == 0, warned
    assert "digits3" in said
    assert "This run wrote no predictions" in Path("page.html").read_text(encoding="utf-8")
    report = Report.read(old / "run" / "report.json")
    status, said, warned = nettailor("eval", old / "run", "--data", old / "pictures", *over_tiny(old))
    assert status == 0, warned
    assert f"{report.compact.test_accuracy:.4f} of 9 test pictures right" in said
    picture = next((old / "pictures").rglob("*.png"))
    assert nettailor("predict", old / "run", picture, *over_tiny(old))[0] == 0


def test_an_old_run_is_pruned_to_another_size(nettailor: CommandLine, old: Path) -> None:
    status, _, warned = nettailor("prune", old / "run", "--macs", "0.4", "prune.remove=[2,4]")
    assert status == 0, warned
    report = Report.read(old / "run" / "prune" / "macs-0.4" / "report.json")
    assert report.compact.macs <= 0.4 * report.backbone.macs
    before = Report.read(old / "run" / "report.json")
    assert before.teacher is not None
    assert report.teacher is not None
    assert report.teacher.test_accuracy == before.teacher.test_accuracy
    again = report.seconds["teacher"] - before.seconds["teacher"]
    assert 0 <= again < 20, "it was not trained again, only read"


def test_an_old_run_is_finished_and_does_not_run_again(nettailor: CommandLine, old: Path) -> None:
    before = (old / "run" / "report.json").read_bytes()
    status, said, warned = nettailor("adapt", "--recipe", old / "run" / "recipe.yaml", "--out", old / "run")
    assert status == 0, warned
    assert "finished already" in said
    assert (old / "run" / "report.json").read_bytes() == before


def test_every_report_and_curve_of_the_board_is_read() -> None:
    reports = sorted(BOARD.rglob("*-report.json"))
    assert len(reports) >= 80
    methods = {Report.read(path).method for path in reports}
    assert methods >= {"nettailor", "teacher", "linear", "batch_norm", "adapters", "shallow"}
    curves = sorted(BOARD.rglob("*-front.json"))
    assert len(curves) >= 14
    assert all(Front.read(path).points for path in curves)
