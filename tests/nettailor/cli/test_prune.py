"""`nettailor prune` hands its wish on and prints the new size, with the curve where it is asked for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from nettailor.jobs import reprune as job
from nettailor.jobs.reprune import TargetSize
from tests import fabricated
from tests.conftest import CommandLine


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """What the job was called with; it leaves a curve in the folder `new`."""
    calls: list[tuple[Any, ...]] = []

    def reprune(*words: Any) -> Any:
        calls.append(words[:4])
        fabricated.front().write(Path("new/front.json"))
        return fabricated.report(), Path("new")

    monkeypatch.setattr(job, "reprune", reprune)
    return calls


def test_options_are_the_wish_and_overrides_the_settings(nettailor: CommandLine, asked: list[tuple[Any, ...]]) -> None:
    words = ["--macs", "0.5", "--drop", "1", "prune.epochs=3", "--device", "cpu", "--out", "here"]
    status, said, err = nettailor("prune", "run", *words)
    assert status == 0, err
    settings = {"prune": {"epochs": 3}, "machine": {"device": "cpu"}}
    assert asked == [(Path("run"), TargetSize(0.5, None, None, 1.0, False), settings, Path("here"))]
    assert "-0.50 points" in said
    assert "delta    new/task" in said
    assert "the chosen network" not in said


def test_the_curve_is_printed_where_it_is_asked_for(nettailor: CommandLine, asked: list[tuple[Any, ...]]) -> None:
    status, said, _ = nettailor("prune", "run", "--front")
    assert status == 0
    assert asked[0][1:] == (TargetSize(None, None, None, None, True), {}, None)
    assert "* the chosen network" in said
    assert "curve    new/front.json  new/front.png" in said
