"""Many jobs, one after the other, over one loaded backbone."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

from blocks import Backbone
from nettailor.artifacts.report import Report
from nettailor.backbones.load import load_backbone
from nettailor.errors import DataError, NettailorError
from nettailor.jobs.adapt import adapt
from nettailor.jobs.context import resolve
from nettailor.jobs.recipe import Recipe
from nettailor.progress import Display


@dataclass(frozen=True)
class Job:
    """One run of many."""

    name: str
    recipe: Recipe
    out: Path
    begin_with: Path | None = None
    after: tuple[str, ...] = ()
    prepare: Callable[[Job], Job] | None = None


@dataclass
class Outcome:
    """Reports of the jobs that ended well, and what went wrong with each other one, by name."""

    reports: dict[str, Report] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)


def run_jobs(jobs: list[Job], display: Display | None = None, workers: int = 1, on: str | None = None) -> Outcome:
    """Run jobs one after the other; one that fails does not stop the others."""
    display, outcome = display or Display(), Outcome()
    loaded: dict[object, Backbone] = {}
    for number, job in enumerate(jobs, 1):
        display.say(f"\n{job.name} ({number} of {len(jobs)})")
        try:
            if missing := [name for name in job.after if name not in outcome.reports]:
                raise NettailorError(f"needs {missing[0]}, which failed")
            ready = job if job.prepare is None else job.prepare(job)
            config = ready.recipe.backbone
            if config not in loaded:
                loaded[config] = load_backbone(**asdict(config))
            outcome.reports[job.name] = adapt(ready.recipe, ready.out, display, loaded[config], ready.begin_with)
        except NettailorError as error:
            outcome.failed[job.name] = str(error)
            display.say(f"{job.name} failed: {error}")
        except Exception as error:  # a fault of ours in one task must not cost the user the other tasks
            outcome.failed[job.name] = f"{type(error).__name__}: {error}"
            display.say(f"{job.name} failed:\n{traceback.format_exc()}")
    return outcome


def adapt_all(
    recipes: list[Recipe], parent: Path, display: Display | None = None
) -> tuple[list[Report], dict[str, str]]:
    """Adapt to several tasks; a task that fails does not stop the others.

    Returns:
        The reports of the tasks that ended well, and what went wrong with each other task, by its name.
    """
    names = [resolve(recipe).task or "" for recipe in recipes]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise DataError(f"tasks: two are called {twice[0]!r}; give them names of their own (task: NAME)")
    jobs = [Job(name, recipe, parent / name) for recipe, name in zip(recipes, names, strict=True)]
    outcome = run_jobs(jobs, display)
    return list(outcome.reports.values()), outcome.failed
