"""`nettailor export` from the command line: what lies there afterwards, and that bad input leaves nothing."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor

from nettailor.artifacts.export_record import ExportRecord
from nettailor.export.torch import FORMAT, _Session
from tests.conftest import CommandLine


@pytest.fixture
def run(linear_run: Path, tmp_path: Path) -> Path:
    """A finished run that may be changed."""
    return Path(shutil.copytree(linear_run, tmp_path / "run"))


def answers_otherwise(monkeypatch: pytest.MonkeyPatch, by: float, only_last_of: int | None = None) -> None:
    """Let files of `--to torch` give other logits, of the first class so much more: always, or for the last of so many."""
    real = _Session.__call__

    def other(session: _Session, pictures: Tensor) -> Tensor:
        logits = real(session, pictures).clone()
        if only_last_of is None:
            logits[:, 0] += by
        elif len(logits) == only_last_of:
            logits[-1, 0] += by
        return logits

    monkeypatch.setattr(_Session, "__call__", other)


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file() and path.name != ".lock"}


def test_a_run_is_exported_with_figures_beside_it_and_in_it(nettailor: CommandLine, run: Path) -> None:
    before = files(run)
    status, out, err = nettailor("export", run, "--to", "torch")
    assert status == 0, err
    assert "reading the pictures" in out
    assert "ms per picture" in out
    (new,) = [name for name in files(run) - before if name.endswith(".pt2")]
    assert files(run) - before == {new, "export.json"}
    (known,) = ExportRecord.read(run / "export.json").files
    assert known.file == new
    assert (known.parity.pictures, known.parity.of, known.parity.disagreements) == (24, "test", 0)
    assert known.parity.largest_difference is not None
    assert known.parity.largest_difference <= 1e-3
    assert known.bytes == (run / new).stat().st_size
    assert known.latency.ms > 0
    notes = FORMAT.open(run / new).notes
    task = json.loads((run / "task" / "task.json").read_text())
    assert notes["classes"] == task["classes"]
    assert notes["backbone"]["sha256"] == task["backbone"]["sha256"]
    assert notes["input"]["size"] == task["input"]["size"]
    assert notes["parity"]["pictures"] == 24
    card = (run / "task" / "README.md").read_text()
    assert card.count("## Exported") == 1
    assert f"`{new}`" in card
    loaded = torch.export.load(run / new).module()
    assert loaded(torch.zeros(1, 3, 40, 30, dtype=torch.uint8)).shape == (1, len(task["classes"]))


def test_a_file_that_answers_otherwise_to_one_picture_of_all_is_not_there(
    nettailor: CommandLine, run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, card = files(run), (run / "task" / "README.md").read_text()
    answers_otherwise(monkeypatch, 0.01, only_last_of=24)  # the few that are looked at again at the end would not tell
    said = nettailor.fails("export", run, "--to", "torch", "--raw")
    assert "answers otherwise than the compact net: largest difference of logits 0.01" in said
    assert "no file was written" in said
    assert files(run) == before
    assert (run / "task" / "README.md").read_text() == card


@pytest.mark.slow
def test_int8_that_costs_too_much_is_refused_with_the_figure(
    nettailor: CommandLine, run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = files(run)
    assert "there are executorch, onnx, openvino" in nettailor.fails("export", run, "--to", "torch", "--int8", status=2)
    monkeypatch.setattr(FORMAT, "quantises", True)
    answers_otherwise(monkeypatch, 1e4)
    said = nettailor.fails("export", run, "--to", "torch", "--int8", "--raw", "--drop", "0.5")
    assert "points of accuracy on the 24 validation pictures (25.00 % instead of" in said
    assert "0.5 are allowed; no file was written" in said
    assert files(run) == before


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "--to is missing; there are executorch, onnx, openvino, torch"),
        (("--to", "onx"), "there is no format 'onx'; did you mean 'onnx'?"),
        (("--to", "torch", "--out", "net.onnx"), "net.onnx: a file of --to torch ends in .pt2"),
        (("--to", "torch", "--drop", "-1"), "--drop -1.0: are points of accuracy, from 0 to 100"),
    ],
)
def test_wrong_use_is_refused_before_anything_is_done(
    nettailor: CommandLine, linear_run: Path, words: tuple[str, ...], said: str
) -> None:
    assert said in nettailor.fails("export", linear_run, *words, status=2)
    assert list(Path().iterdir()) == []


@pytest.mark.parametrize(("to", "package"), [("onnx", "onnxscript"), ("openvino", "nncf"), ("executorch", "torchao")])
def test_a_missing_extra_is_named(
    nettailor: CommandLine, linear_run: Path, monkeypatch: pytest.MonkeyPatch, to: str, package: str
) -> None:
    monkeypatch.setattr("nettailor.export._protocol.find_spec", lambda name: None if name == package else sys)
    said = nettailor.fails("export", linear_run, "--to", to, status=2)
    assert f"--to {to}: {package} is not installed; pip install 'nettailor[{to}]'" in said


def test_a_run_that_is_not_finished(nettailor: CommandLine, run: Path) -> None:
    (run / "report.json").unlink()
    assert "is not finished (it has no report.json)" in nettailor.fails("export", run, "--to", "torch")
    assert not (run / "export").exists()


def test_a_folder_that_can_t_be_written(nettailor: CommandLine, linear_run: Path) -> None:
    Path("file").touch()
    said = nettailor.fails("export", linear_run, "--to", "torch", "--out", "file/net.pt2")
    assert "file/net.pt2: can't be written" in said
    assert "choose another --out" in said


@pytest.mark.slow
def test_a_bare_delta_takes_its_pictures_from_data(nettailor: CommandLine, run: Path, digit_folder: Path) -> None:
    delta = shutil.move(run / "task", "delta")
    shutil.rmtree(run)
    said = nettailor.fails("export", delta, "--to", "torch", status=2)
    assert "its pictures are not known; name some with --data" in said
    status, _, err = nettailor(
        "export", delta, "--to", "torch", "--raw", "--data", digit_folder, "--out", "out/net.pt2"
    )
    assert status == 0, err
    assert files(Path("out")) == {"net.pt2", "export.json"}
    assert "`net.pt2`" in Path("delta/README.md").read_text()


def test_damaged_figures_of_earlier_exports_stop_the_next(nettailor: CommandLine, run: Path) -> None:
    (run / "export.json").write_text("{")
    assert "export.json" in nettailor.fails("export", run, "--to", "torch")
    assert not any(name.endswith(".pt2") for name in files(run))
