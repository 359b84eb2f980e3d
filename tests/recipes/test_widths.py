"""Widths of thinned blocks through whole runs: in the delta, in a run that goes on, and in other sizes of its student."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from nettailor.artifacts.report import Report
from nettailor.pruning import widths
from tests.conftest import CommandLine
from tests.tiny import QUICK

LOW = (*(words for words in QUICK if ".lr=" not in words), "teacher.lr=0.0001", "prune.drop=3")
"""Rates that keep pretrained features, and so few points to lose that wide blocks are worth their cost."""


@pytest.fixture
def run(nettailor: CommandLine, digit_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A finished run whose thinned blocks have half of the channels, whatever suits them."""
    half = lambda ways, is_enough: dict.fromkeys(ways, "thinned_half")  # noqa: E731
    monkeypatch.setattr(widths, "best_widths", half)
    over = ("--backbone", "tests.tiny:tiny_inverted", "backbone.input_size=16")
    status, said, err = nettailor("adapt", "--data", digit_folder, *over, *LOW, "--out", "run")
    assert status == 0, err
    assert "measuring how wide blocks are to be" in said
    monkeypatch.setattr(widths, "best_widths", lambda *_: pytest.fail("they are chosen once"))
    return Path("run")


@pytest.mark.slow
@pytest.mark.parametrize("size", [("--macs", "0.8"), ("--drop", "100"), ("--latency-ms", "1000")])
def test_another_size_of_a_student_has_its_widths(nettailor: CommandLine, run: Path, size: tuple[str, str]) -> None:
    assert "importance" in Report.read(run / "report.json").epochs
    status, _, err = nettailor("prune", run, *size, "--out", "other")
    assert status == 0, err
    kept = json.loads(Path("other/task/task.json").read_text())["graph"]["edges"]
    assert {edge["form"] for edge in kept} <= {"universal", "conv1x1", "bottleneck", "thinned_half"}
    if size[0] == "--latency-ms":
        measured = json.loads(Path("other/costs.json").read_text())["paths"]
        assert {row["form"] for row in measured} == {"universal", "conv1x1", "bottleneck", "thinned_half"}
    assert Report.read(Path("other/report.json")).prune is not None
