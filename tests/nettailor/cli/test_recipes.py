"""`nettailor recipes`: what each action takes, and where `run` passes its words on."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path
from typing import Any

import pytest

from nettailor.cli import adapt as verb
from nettailor.config.library import shipped_procedures
from tests.conftest import CommandLine


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["ls", "more"], "usage: nettailor recipes ls"),
        (["cp", "paper"], "usage: nettailor recipes cp NAME FILE"),
        (["validate"], "usage: nettailor recipes validate NAME|FILE"),
        (["run"], "recipes run NAME [arguments]"),
        (["cat", "papr"], "did you mean 'paper'?"),
    ],
)
def test_an_action_says_what_it_takes(nettailor: CommandLine, words: list[str], says: str) -> None:
    assert says in nettailor.fails("recipes", *words, status=2)


def test_a_procedure_is_printed_and_run_with_its_own_words(
    nettailor: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[Any] = []
    monkeypatch.setattr(sys, "argv", ["pytest"])
    monkeypatch.setattr(runpy, "run_module", lambda name, run_name: ran.append((name, run_name, sys.argv)))
    assert nettailor("recipes", "run", "bench_step", "--runs", "1")[0] == 0
    assert ran == [("recipes.benchmarks.bench_step", "__main__", ["bench_step", "--runs", "1"])]
    assert nettailor("recipes", "cat", "bench_step")[1] == shipped_procedures()["bench_step"].read_text()


def test_a_recipe_is_run_by_adapt(nettailor: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[Any] = []
    monkeypatch.setattr(verb, "adapt", lambda options: (given.append(options), 5)[1])
    assert nettailor("recipes", "run", "paper", "--seed", "3", "student.epochs=2")[0] == 5
    (options,) = given
    assert (options.recipe, options.seed, options.overrides) == ("paper", 3, ["student.epochs=2"])


def test_a_copy_that_can_not_be_written_is_named(nettailor: CommandLine) -> None:
    assert "no/such/mine.yaml: can't be written" in nettailor.fails("recipes", "cp", "paper", "no/such/mine.yaml")


def test_a_file_of_several_tasks_is_validated(nettailor: CommandLine) -> None:
    Path("many.yaml").write_text("tasks: [{task: a}, {task: b}]\n")
    assert nettailor("recipes", "validate", "many.yaml") == (0, "many.yaml: valid, 2 tasks\n", "")
