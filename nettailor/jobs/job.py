"""One of many jobs: what it is, what it waits for, and the one function that runs it, wherever that is.

jobs -> JobQueue -> the next that may start -> run_job -> Result -> JobQueue -> Outcome
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import torch

from blocks import Backbone
from nettailor.artifacts.report import Report
from nettailor.backbones.config import BackboneConfig
from nettailor.backbones.load import load_backbone
from nettailor.errors import NettailorError, UsageError
from nettailor.jobs.adapt import adapt
from nettailor.jobs.recipe import Recipe
from nettailor.progress import Display


@dataclass(frozen=True)
class Job:
    """One adaptation of many. A subclass does something else, or more, in the same queue: it has its own `run` and `stages`.

    Attributes:
        name: what it is called in the table, in messages and in `after`; each once.
        recipe: what is run.
        out: its run folder.
        begin_with: folder of another run's nets, whose finished stages are not run again.
        after: names of the jobs that must have ended well before it starts.
    """

    name: str
    recipe: Recipe
    out: Path
    begin_with: Path | None = None
    after: tuple[str, ...] = ()

    def stages(self) -> dict[str, int]:
        """About how many passes over the data each stage takes, in their order: for the time left alone."""
        return self.recipe.find_method().stages(self.recipe)

    def run(self, display: Display, backbone: Callable[[BackboneConfig], Backbone]) -> Report | None:
        """Do it in this process; going on where it was stopped. Returns the report of an adaptation.

        Args:
            backbone: finds the backbone that a recipe names.

        Raises:
            NettailorError: anything a user can mend.
        """
        return adapt(self.recipe, self.out, display, backbone(self.recipe.backbone), begin_with=self.begin_with)


Prepare = Callable[[Job], Job]
"""Called where `run_jobs` was called, just before a job starts and after all it waits for have ended: it may read their
reports and return the job with another recipe. Its errors are the job's."""


@dataclass(frozen=True)
class Result:
    """How one job ended: well, an adaptation with its report; or with an error in a plain line and, where it is a fault of
    ours, its traceback."""

    job: str
    report: Report | None = None
    error: str = ""
    trace: str = ""

    @property
    def failed(self) -> bool:
        """Whether it ended with an error."""
        return bool(self.error)


@dataclass
class Outcome:
    """The reports of the adaptations that ended well, in the order of the jobs, and what went wrong with each job that
    failed, by name."""

    reports: dict[str, Report] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)


class Backbones:
    """Backbones loaded so far: jobs in one process share them."""

    def __init__(self) -> None:
        self._loaded: dict[BackboneConfig, Backbone] = {}

    def __call__(self, config: BackboneConfig) -> Backbone:
        """The backbone that a recipe names, loaded when it is first asked for."""
        if config not in self._loaded:
            self._loaded[config] = load_backbone(**asdict(config))
        return self._loaded[config]


def run_job(
    job: Job, display: Display, backbone: Callable[[BackboneConfig], Backbone], threads: int | None = None
) -> Result:
    """Run one job in this process; whatever goes wrong is in the result and does not stop the jobs beside it.

    Args:
        backbone: finds the backbone that a recipe names.
        threads: of torch, unless the recipe sets them; as they are if None.
    """
    before = torch.get_num_threads()
    wanted = job.recipe.machine.threads or threads
    if wanted is not None:
        torch.set_num_threads(wanted)
    try:
        return Result(job.name, job.run(display, backbone))
    except Exception as error:  # a fault of ours in one job must not cost the user the others
        return result_of(job, error)
    finally:
        torch.set_num_threads(before)


def result_of(job: Job, error: Exception) -> Result:
    """An error as a job's result."""
    if isinstance(error, NettailorError):
        return Result(job.name, error=str(error) or type(error).__name__)
    return Result(job.name, error=f"{type(error).__name__}: {error}", trace=traceback.format_exc())


class JobQueue:
    """Which job may start, and which can't any more because one that it waits for has failed.

    Args:
        jobs: started in this order, as far as what they wait for lets them.
        prepare: see `Prepare`.

    Raises:
        UsageError: a name is there twice, or jobs wait for one that is not there or for each other.
    """

    def __init__(self, jobs: Sequence[Job], prepare: Prepare | None = None) -> None:
        _check(jobs)
        self._jobs, self._prepare = list(jobs), prepare
        self._waiting = list(jobs)
        self._ended: set[str] = set()  # well
        self._reports: dict[str, Report] = {}
        self.failed: dict[str, str] = {}

    def next(self) -> Job | Result | None:
        """The next job to start; or the result of one that failed without being started; or None: nothing can start now."""
        for job in self._waiting:
            if lost := [name for name in job.after if name in self.failed]:
                self._waiting.remove(job)
                return Result(job.name, error=f"not run, because {lost[0]} failed")
            if self._ended.issuperset(job.after):
                self._waiting.remove(job)
                return self._prepared(job)
        return None

    def end(self, result: Result) -> None:
        """Take down how a job ended."""
        if result.failed:
            self.failed[result.job] = result.error
            return
        self._ended.add(result.job)
        if result.report is not None:
            self._reports[result.job] = result.report

    def outcome(self) -> Outcome:
        """All results so far, in the order of the jobs."""
        reports = {job.name: self._reports[job.name] for job in self._jobs if job.name in self._reports}
        return Outcome(reports, {job.name: self.failed[job.name] for job in self._jobs if job.name in self.failed})

    def _prepared(self, job: Job) -> Job | Result:
        if self._prepare is None:
            return job
        try:
            return replace(self._prepare(job), name=job.name)
        except Exception as error:
            return result_of(job, error)


def _check(jobs: Sequence[Job]) -> None:
    names = [job.name for job in jobs]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise UsageError(f"jobs: two are called {twice[0]!r}; give them names of their own")
    settled: set[str] = set()
    while left := [job for job in jobs if job.name not in settled]:
        ready = {job.name for job in left if set(job.after) <= settled}
        if not ready:
            job = left[0]
            missing = next(name for name in job.after if name not in settled)
            reason = "there is no such job" if missing not in names else "they wait for each other"
            raise UsageError(f"job {job.name!r}: waits for {missing!r}, but {reason}")
        settled |= ready
