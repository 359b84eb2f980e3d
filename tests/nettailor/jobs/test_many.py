"""Many jobs: a failure does not stop the others, and places where nothing can run are refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from nettailor.errors import UsageError
from nettailor.jobs import many
from nettailor.jobs.job import Backbones, Job, Prepare, Result
from nettailor.jobs.many import ray_address, run_jobs
from nettailor.jobs.recipe import Recipe
from nettailor.progress import Display
from nettailor.training import passes
from tests import fabricated

REPORT = fabricated.report()


def job(name: str, *after: str) -> Job:
    return Job(name, Recipe(), Path(name), after=after)


def test_run_jobs_goes_on_after_a_failure(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def fake(one: Job, display: Display, backbone: Backbones) -> Result:
        return Result(one.name, error="broken") if one.name == "a" else Result(one.name, REPORT)

    monkeypatch.setattr(many, "run_job", fake)
    prepare: Prepare = lambda one: one  # noqa: E731
    outcome = run_jobs([job("a"), job("b", "a"), job("c")], prepare=prepare)
    assert outcome.reports == {"c": REPORT}
    assert outcome.failed == {"a": "broken", "b": "not run, because a failed"}
    said = capsys.readouterr().out
    assert "a (1 of 3)" in said
    assert "b failed: not run, because a failed" in said


def test_where_jobs_may_run() -> None:
    assert [ray_address(on) for on in (None, "ray", "ray=10.0.0.1:6379")] == [None, "", "10.0.0.1:6379"]
    for wrong in ("slurm", "ray=", "raycluster"):
        with pytest.raises(UsageError, match="--on ray=ADDRESS"):
            ray_address(wrong)
    with pytest.raises(UsageError, match="at least 1"):
        run_jobs([], workers=0)
    with pytest.raises(UsageError, match="leave --workers or --on out"):
        run_jobs([], workers=2, on="ray")


def test_the_stages_of_a_method_follow_the_recipe() -> None:
    recipe = Recipe()
    found = recipe.find_method().stages(recipe)
    assert list(found) == ["teacher", "student", "prune", "recover"]
    assert recipe.student.epochs is None
    assert found["student"] == passes.STUDENT.passes
    paper = replace(recipe, prune=replace(recipe.prune, how="paper", remove=(1, 2), epochs=3))
    assert paper.find_method().stages(paper)["prune"] == 6
    half = replace(recipe, prune=replace(recipe.prune, how="budget", budget=0.5, shrink=0.5, epochs=3))
    assert half.find_method().stages(half)["prune"] == 3
    assert recipe.with_method("linear").find_method().stages(recipe) == {"linear": recipe.teacher.epochs}
    shallow = recipe.with_method("shallow")
    assert shallow.find_method().stages(shallow) == {"shallow": recipe.teacher.epochs}
