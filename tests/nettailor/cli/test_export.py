"""`nettailor export`: its options are the job's wish, and what was written is said."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from nettailor.artifacts import delta
from nettailor.jobs import export as job
from tests.conftest import CommandLine
from tests.nettailor.artifacts.test_export_record import exported

Calls = list[tuple[Any, ...]]


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Calls:
    calls: Calls = []
    done = SimpleNamespace(figures=exported(), path=Path("birds.pt2"), record=Path("export.json"), card=None)
    monkeypatch.setattr(job, "export", lambda *words: (calls.append(words), done)[1])
    monkeypatch.setattr(job, "check_finished", lambda run: None)
    monkeypatch.setattr(delta, "load", lambda run, backbone: "the delta")
    monkeypatch.setattr("nettailor.cli.export.backbone_of", lambda options: None)
    return calls


def test_options_are_the_wish(nettailor: CommandLine, asked: Calls) -> None:
    words = ["--to", "torch", "--out", "x.pt2", "--raw", "--int8", "--drop", "0.5", "--data", "d", "--split", "val"]
    status, said, err = nettailor("export", "run", *words, "--skip-bad")
    assert status == 0, err
    ((run, loaded, wish, _),) = asked
    assert (run, loaded) == (Path("run"), "the delta")
    assert wish == job.ExportWish("torch", Path("x.pt2"), True, True, 0.5, "d", "val", True)
    assert "birds as onnx" in said
    assert "file     birds.pt2" in said
    assert "the model card can't be written" in said


def test_left_out_they_are_the_usual_ones(nettailor: CommandLine, asked: Calls) -> None:
    assert nettailor("export", "run", "--to", "torch")[0] == 0
    assert asked[0][2] == job.ExportWish("torch", None, False, False, 1.0, None, None, False)


def test_a_format_that_is_missing_or_misspelt_is_named_before_anything_is_read(
    nettailor: CommandLine, asked: Calls
) -> None:
    assert "--to is missing; there are executorch, onnx, openvino, torch" in nettailor.fails("export", "run", status=2)
    assert "did you mean 'onnx'" in nettailor.fails("export", "run", "--to", "onx", status=2)
    assert asked == []
