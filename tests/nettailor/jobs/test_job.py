"""One of many jobs: what starts when, what a failure takes with it, and that whatever goes wrong is the job's own result."""

from __future__ import annotations

import io
import pickle
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch
from rich.console import Console

from blocks import Backbone
from nettailor.backbones.config import BackboneConfig
from nettailor.errors import DataError, UsageError
from nettailor.jobs import job as module
from nettailor.jobs.job import Backbones, Job, JobQueue, Outcome, Result, run_job
from nettailor.jobs.recipe import Recipe
from nettailor.progress import Display
from tests import fabricated

REPORT = fabricated.report()


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


def test_an_error_that_the_user_can_mend_has_no_traceback(tmp_path: Path) -> None:
    def no_backbone(config: BackboneConfig) -> Backbone:
        raise DataError("no pictures")

    result = run_job(Job("a", Recipe(), tmp_path / "a"), Display(quiet=True), no_backbone)
    assert result == Result("a", error="no pictures")


def test_a_job_adapts_what_it_says_with_the_backbone_that_its_recipe_names(
    backbone: Backbone, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[object, ...]] = []
    monkeypatch.setattr(module, "adapt", lambda *words, **more: (asked.append((*words, more)), REPORT)[1])
    one, display = replace(job("a"), begin_with=Path("nets")), Display(quiet=True)
    assert run_job(one, display, lambda config: backbone) == Result("a", REPORT)
    assert asked == [(one.recipe, one.out, display, backbone, {"begin_with": Path("nets")})]


def test_jobs_of_one_process_share_a_backbone(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded: list[dict[str, object]] = []
    monkeypatch.setattr(module, "load_backbone", lambda **config: (loaded.append(config), object())[1])
    backbones = Backbones()
    one, other = BackboneConfig(), BackboneConfig(input_size=64)
    assert backbones(one) is backbones(BackboneConfig())
    assert backbones(one) is not backbones(other)
    assert [config["input_size"] for config in loaded] == [None, 64]


@dataclass(frozen=True)
class Greeting(Job):
    """A job that adapts nothing."""

    def stages(self) -> dict[str, int]:
        return {"greet": 3}

    def run(self, display: Display, backbone: object) -> None:
        display.say(f"hello {self.name}")


def test_a_job_of_another_kind_ends_well_without_a_report() -> None:
    text = io.StringIO()
    one = Greeting("a", Recipe(), Path("a"))
    result = run_job(one, Display(Console(file=text)), lambda config: None)  # type: ignore[arg-type, return-value]
    assert (result, text.getvalue()) == (Result("a"), "hello a\n")
    assert not result.failed
    assert job("b").stages() == Recipe().find_method().stages(Recipe())
    queue = JobQueue([one, job("b", "a")])
    assert started(queue) == "a"
    queue.end(result)
    assert started(queue) == "b"
    queue.end(Result("b", REPORT))
    assert queue.outcome() == Outcome({"b": REPORT}, {})


@dataclass(frozen=True)
class Counts(Job):
    """A job that is no adaptation: it writes down how many threads it has."""

    def run(self, display: Display, backbone: object) -> None:
        self.out.write_text(str(torch.get_num_threads()))


@pytest.mark.parametrize(("recipe", "given", "has"), [(1, 3, "1"), (None, 3, "3"), (2, None, "2")])
def test_every_kind_of_job_has_the_threads_of_its_recipe_or_of_its_place(
    tmp_path: Path, recipe: int | None, given: int | None, has: str
) -> None:
    before = torch.get_num_threads()
    whole = Recipe()
    counts = Counts("c", replace(whole, machine=replace(whole.machine, threads=recipe)), tmp_path / "said")
    assert not run_job(counts, Display(quiet=True), Backbones(), given).failed
    assert (tmp_path / "said").read_text() == has
    assert torch.get_num_threads() == before
