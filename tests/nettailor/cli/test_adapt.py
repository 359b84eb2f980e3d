"""`nettailor adapt` puts its options into recipes, runs one or several, and prints what came of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from nettailor.artifacts.confusion import Confusion
from nettailor.jobs import adapt as one
from nettailor.jobs import many
from nettailor.jobs.job import Outcome
from nettailor.jobs.recipe import parse_recipe
from nettailor.methods import names
from tests import fabricated
from tests.conftest import CommandLine

Calls = list[tuple[Any, ...]]


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Calls:
    calls: Calls = []
    monkeypatch.setattr(one, "adapt", lambda *words: (calls.append(words), fabricated.report())[1])
    return calls


def test_help_says_of_every_method_what_it_is(nettailor: CommandLine) -> None:
    status, said, _ = nettailor("adapt", "--help")
    assert status == 0
    lines = said[said.index("methods:") :].splitlines()[1:]
    assert [line.split()[0] for line in lines] == names()
    assert "  soft" in said
    assert "the backbone fine-tuned, its source's loss beside the target's at first" in said
    assert all(len(line.split()) > 3 for line in lines)


def test_options_lie_over_overrides_and_the_recipe(nettailor: CommandLine, asked: Calls) -> None:
    Path("mine.yaml").write_text("seed: 4\nstudent: {epochs: 3}\n")
    words = ["--recipe", "mine.yaml", "student.epochs=5", "seed=6", "--seed", "7", "--method", "linear"]
    status, said, err = nettailor("adapt", *words)
    assert status == 0, err
    ((recipe, out, _),) = asked
    assert (recipe.seed, recipe.student.epochs, recipe.method.name, recipe.task) == (7, 5, "linear", "digits")
    assert out == Path("runs/digits-linear")
    assert "-0.50 points" in said
    assert "delta    runs/digits-linear/task" in said


def test_a_run_that_is_repeated_counts_in_the_milliseconds_that_it_measured(
    nettailor: CommandLine, asked: Calls
) -> None:
    parse_recipe({"cost": "latency", "seed": 3}, "test").write(Path("runs/digits/recipe.yaml"))
    Path("runs/digits/costs.json").write_text("{}")
    assert nettailor("adapt", "--recipe", "runs/digits/recipe.yaml", "--out", "again")[0] == 0
    ((recipe, out, _),) = asked
    assert (recipe.seed, recipe.cost, out) == (3, "latency", Path("again"))
    assert recipe.cost_table == str(Path("runs/digits/costs.json").resolve())


def test_the_confusion_matrix_is_printed_where_the_run_has_one(nettailor: CommandLine, asked: Calls) -> None:
    assert "taken for" not in nettailor("adapt", "--out", "old")[1], "runs of earlier versions have none"
    Confusion("birds", ["cat", "dog"], [[7, 2], [0, 5]]).write(Path("new/confusion.json"))
    said = nettailor("adapt", "--out", "new")[1]
    assert "taken for" in said
    assert said.index("test accuracy") < said.index("taken for") < said.index("delta ")


def test_several_tasks_have_folders_in_one_and_a_failure_is_the_exit_status(
    nettailor: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: Calls = []
    failed = {"fish": "broken"}
    monkeypatch.setattr(many, "adapt_all", lambda *words: (calls.append(words), ([fabricated.report()], failed))[1])
    Path("many.yaml").write_text("tasks: [{task: a}, {task: b}]\n")
    status, said, _ = nettailor("adapt", "--recipe", "many.yaml", "--workers", "2", "--out", "all")
    assert status == 1
    assert "fish" in said
    ((recipes, parent, _, workers, on),) = calls
    assert ([recipe.task for recipe in recipes], parent, workers, on) == (["a", "b"], Path("all"), 2, None)
    failed.clear()
    assert nettailor("adapt", "--recipe", "many.yaml")[0] == 0
    assert "--data: the recipe has several tasks" in nettailor.fails(
        "adapt", "--recipe", "many.yaml", "--data", "digits", status=2
    )


def test_one_task_on_a_cluster_is_one_job(
    nettailor: CommandLine, asked: Calls, monkeypatch: pytest.MonkeyPatch
) -> None:
    outcome = Outcome({"digits": fabricated.report()})
    jobs: list[Any] = []
    monkeypatch.setattr(many, "run_jobs", lambda all_, display, on: (jobs.append((all_, on)), outcome)[1])
    assert nettailor("adapt", "--on", "ray")[0] == 0
    (((job,), on),) = jobs
    assert (job.name, job.out, on) == ("digits", Path("runs/digits"), "ray")
    outcome.reports.clear()
    outcome.failed["digits"] = "no room"
    assert "no room" in nettailor.fails("adapt", "--on", "ray")
    assert asked == []
