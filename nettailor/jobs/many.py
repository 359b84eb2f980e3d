"""Many jobs: one after the other, in processes of this machine, or on a Ray cluster; the results are the same.

    jobs -> run_jobs -> workers=1      this process, one after the other
                        workers=N      N processes, which share the cores     (workers.py)
                        on="ray..."    one Ray task per job                   (ray_cluster.py)

A job that is finished is not run again and one that was stopped goes on, so a worker that is lost costs an epoch.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from nettailor.artifacts.report import Report
from nettailor.errors import DataError, UsageError
from nettailor.jobs.context import resolve
from nettailor.jobs.job import Backbones, Job, JobQueue, Outcome, Prepare, Result, run_job
from nettailor.jobs.recipe import Recipe
from nettailor.progress import Display, TimeLeft, clock

__all__ = ["Job", "Outcome", "Prepare", "adapt_all", "run_job", "run_jobs"]


def run_jobs(
    jobs: Sequence[Job],
    display: Display | None = None,
    workers: int = 1,
    on: str | None = None,
    prepare: Prepare | None = None,
) -> Outcome:
    """Run many jobs; one that fails stops only those that wait for it.

    Args:
        workers: processes; they divide the cores, and the GPUs where there are some. More than one needs a script's own code
            to stand under `if __name__ == "__main__":`, as all of Python's new processes do.
        on: `ray` or `ray=ADDRESS`: a Ray cluster, one task per job with the recipe's `machine.cpus` and `machine.gpus`.
        prepare: may change a job just before it starts, when those that it waits for have ended.

    Raises:
        UsageError: no such place to run, Ray is not installed, or the jobs wait for each other.
        KeyboardInterrupt: all workers have been stopped; the same call goes on.
    """
    display = display or Display()
    if workers < 1:
        raise UsageError(f"--workers: must be at least 1, but it is {workers}")
    address = ray_address(on)
    if address is not None and workers > 1:
        raise UsageError("--workers: a Ray cluster runs as many jobs as it has room for; leave --workers or --on out")
    queue = JobQueue(jobs, prepare)
    if address is not None:
        from nettailor.jobs.ray_cluster import run_on_ray

        run_on_ray(jobs, queue, display, address or None)
    elif workers > 1 and len(jobs) > 1:
        from nettailor.jobs.workers import run_in_processes

        run_in_processes(jobs, queue, display, min(workers, len(jobs)))
    else:
        _run_here(jobs, queue, display)
    return queue.outcome()


def adapt_all(
    recipes: Sequence[Recipe],
    parent: Path,
    display: Display | None = None,
    workers: int = 1,
    on: str | None = None,
) -> tuple[list[Report], dict[str, str]]:
    """Adapt to several tasks; a task that fails does not stop the others.

    Args:
        parent: each task's run folder is made in it.
        workers, on: where they run, see `run_jobs`.

    Returns:
        The reports of the tasks that ended well, and what went wrong with each other task, by its name.
    """
    names = [resolve(recipe).task or "" for recipe in recipes]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise DataError(f"tasks: two are called {twice[0]!r}; give them names of their own (task: NAME)")
    jobs = [Job(name, recipe, parent / name) for name, recipe in zip(names, recipes, strict=True)]
    outcome = run_jobs(jobs, display, workers, on)
    return list(outcome.reports.values()), outcome.failed


def ray_address(on: str | None) -> str | None:
    """`ray=ADDRESS` -> ADDRESS, `ray` -> an empty string, nothing -> None.

    Raises:
        UsageError: it is neither.
    """
    if on is None:
        return None
    name, equals, address = on.partition("=")
    if name != "ray" or (equals and not address):
        raise UsageError(f"--on {on}: is no place to run; write --on ray, or --on ray=ADDRESS")
    return address


def _run_here(jobs: Sequence[Job], queue: JobQueue, display: Display) -> None:
    backbones, left = Backbones(), TimeLeft({job.name: sum(job.stages().values()) for job in jobs})
    number = 0
    while (job := queue.next()) is not None:
        number += 1
        name = job.job if isinstance(job, Result) else job.name
        rest = left.seconds()
        display.say(f"\n{name} ({number} of {len(jobs)}{'' if rest is None else f', about {clock(rest)} left'})")
        result = job if isinstance(job, Result) else run_job(job, display, backbones)
        if result.failed:
            display.say(f"{name} failed:\n{result.trace}" if result.trace else f"{name} failed: {result.error}")
        left.end(name)
        queue.end(result)
