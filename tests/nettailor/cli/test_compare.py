"""`nettailor compare` puts its options into one recipe, and prints the board of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from nettailor.jobs import compare as job
from nettailor.jobs.compare import SHORT
from tests import fabricated
from tests.conftest import CommandLine


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    calls: list[tuple[Any, ...]] = []
    monkeypatch.setattr(job, "compare", lambda *words: (calls.append(words), fabricated.board())[1])
    return calls


def test_without_options_the_short_board_of_the_digits(nettailor: CommandLine, asked: list[tuple[Any, ...]]) -> None:
    status, said, err = nettailor("compare")
    assert status == 0, err
    ((recipe, wanted, seeds, out, _, workers, on),) = asked
    assert (recipe.task, wanted, seeds, out, workers, on) == ("digits", SHORT, 1, Path("boards/digits"), 1, None)
    assert "91.00 ± 1.41" in said
    assert said.endswith("board    boards/digits/board.json  boards/digits/board.png\n")


def test_options_lie_over_overrides_and_the_recipe(nettailor: CommandLine, asked: list[tuple[Any, ...]]) -> None:
    Path("mine.yaml").write_text("seed: 4\nstudent: {epochs: 3}\nmachine: {device: auto}\n")
    words = ["--recipe", "mine.yaml", "student.epochs=5", "machine.device=cuda", "--device", "cpu"]
    assert nettailor("compare", *words, "--methods", "linear, nettailor", "--seeds", "3", "--out", "b")[0] == 0
    ((recipe, wanted, seeds, out, *_),) = asked
    assert (recipe.seed, recipe.student.epochs, recipe.machine.device) == (4, 5, "cpu")
    assert (wanted, seeds, out) == (("linear", "nettailor"), 3, Path("b"))
