"""Many jobs: what starts when, what a failure takes with it, how a machine is divided, and that workers change no figure."""

from __future__ import annotations

import os
import pickle
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from nettailor.artifacts.report import Report
from nettailor.environment import MachineConfig
from nettailor.errors import UsageError
from nettailor.jobs import many, workers
from nettailor.jobs.job import Backbones, Job, JobQueue, Prepare, Result, run_job
from nettailor.jobs.many import ray_address, run_jobs
from nettailor.jobs.recipe import Recipe
from nettailor.progress import Display

REPORT = Report.read(Path(__file__).parents[3] / "docs" / "board" / "digits" / "seed-0" / "nettailor-report.json")


def job(name: str, *after: str) -> Job:
    return Job(name, Recipe(), Path(name), after=after)


def started(queue: JobQueue) -> str | None:
    found = queue.next()
    assert not isinstance(found, Result)
    return found and found.name


def test_jobs_start_in_their_order_and_after_what_they_wait_for() -> None:
    queue = JobQueue([job("shallow", "ours"), job("ours", "teacher"), job("teacher"), job("free")])
    assert [started(queue), started(queue), started(queue)] == ["teacher", "free", None]
    queue.end(Result("teacher", REPORT))
    assert [started(queue), started(queue)] == ["ours", None]
    queue.end(Result("ours", REPORT))
    assert [started(queue), started(queue)] == ["shallow", None]
    queue.end(Result("free", error="no"))
    queue.end(Result("shallow", REPORT))
    assert list(queue.outcome().reports) == ["shallow", "ours", "teacher"]
    assert queue.outcome().failed == {"free": "no"}


def test_what_waits_for_a_failed_job_is_not_run() -> None:
    queue = JobQueue([job("a"), job("b", "a"), job("c", "b"), job("d")])
    assert started(queue) == "a"
    queue.end(Result("a", error="broken"))
    ended = []
    while isinstance(found := queue.next(), Result):
        queue.end(found)
        ended.append(found)
    assert ended == [
        Result("b", error="not run, because a failed"),
        Result("c", error="not run, because b failed"),
    ]
    assert isinstance(found, Job)
    assert found.name == "d"


@pytest.mark.parametrize(
    ("jobs", "message"),
    [
        ([job("a"), job("a")], "two are called 'a'"),
        ([job("a", "b")], "waits for 'b', but there is no such job"),
        ([job("a", "b"), job("b", "a")], "they wait for each other"),
    ],
)
def test_jobs_that_could_never_run_are_refused(jobs: list[Job], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        JobQueue(jobs)


def test_a_job_is_prepared_just_before_it_starts_and_a_failure_of_that_is_its_own() -> None:
    seen: list[str] = []

    def prepare(one: Job) -> Job:
        seen.append(one.name)
        if one.name == "bad":
            raise UsageError("no size")
        return replace(one, recipe=replace(one.recipe, seed=7))

    queue = JobQueue([job("one"), job("two", "one"), job("bad")], prepare)
    first = queue.next()
    assert isinstance(first, Job)
    assert (first.recipe.seed, seen) == (7, ["one"])
    assert queue.next() == Result("bad", error="no size")
    queue.end(Result("one", REPORT))
    assert started(queue) == "two"


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


def test_a_job_leaves_the_threads_as_they_were(tmp_path: Path) -> None:
    before = torch.get_num_threads()
    recipe = Recipe()
    seen: list[int] = []

    def no_backbone(config: object) -> None:
        seen.append(torch.get_num_threads())
        raise RuntimeError("stop here")

    result = run_job(Job("a", recipe, tmp_path / "a"), Display(quiet=True), no_backbone, before + 1)  # type: ignore[arg-type]
    assert seen == [before + 1]
    assert torch.get_num_threads() == before
    assert result.error == "RuntimeError: stop here"
    assert "no_backbone" in result.trace


def test_jobs_and_results_travel() -> None:
    one = Job("a", Recipe(), Path("out"), Path("nets"), ("b",))
    assert pickle.loads(pickle.dumps(one)) == one
    result = Result("a", REPORT)
    assert pickle.loads(pickle.dumps(result)) == result


def test_cores_and_gpus_are_divided(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)), raising=False)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    assert workers.shares(3, [job("a")]) == [workers.Share(2, None)] * 3
    assert workers.shares(20, [job("a")]) == [workers.Share(1, None)] * 20
    monkeypatch.setenv("OMP_NUM_THREADS", "4")
    assert workers.shares(2, [job("a")]) == [workers.Share(2, None)] * 2
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert [share.gpu for share in workers.shares(3, [job("a")])] == ["0", "1", "0"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5, 7")
    assert [share.gpu for share in workers.shares(3, [job("a")])] == ["5", "7", "5"]
    assert workers.Share(2, "5").environment() == {
        "OMP_NUM_THREADS": "2",
        "MKL_NUM_THREADS": "2",
        "CUDA_VISIBLE_DEVICES": "5",
    }
    named = replace(job("a"), recipe=replace(Recipe(), machine=MachineConfig(device="cuda:1")))
    assert [share.gpu for share in workers.shares(2, [named])] == [None, None]


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
    assert found["student"] == recipe.student.epochs
    paper = replace(recipe, prune=replace(recipe.prune, how="paper", remove=(1, 2), epochs=3))
    assert paper.find_method().stages(paper)["prune"] == 6
    half = replace(recipe, prune=replace(recipe.prune, how="budget", budget=0.5, shrink=0.5, epochs=3))
    assert half.find_method().stages(half)["prune"] == 3
    assert recipe.with_method("linear").find_method().stages(recipe) == {"linear": recipe.student.epochs}
    assert recipe.with_method("shallow").find_method().stages(recipe) == {"shallow": recipe.teacher.epochs}
