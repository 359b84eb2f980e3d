"""Many jobs, one after the other, over one loaded backbone."""

from __future__ import annotations

import traceback
from dataclasses import asdict
from pathlib import Path

from blocks import Backbone
from nettailor.artifacts.report import (
    Report,
)
from nettailor.backbones.load import load_backbone
from nettailor.errors import DataError, NettailorError
from nettailor.jobs.adapt import adapt
from nettailor.jobs.context import resolve
from nettailor.jobs.recipe import Recipe
from nettailor.progress import Display


def adapt_all(
    recipes: list[Recipe], parent: Path, display: Display | None = None
) -> tuple[list[Report], dict[str, str]]:
    """Adapt to several tasks, one after the other; a task that fails does not stop the others.

    Returns:
        The reports of the tasks that ended well, and what went wrong with each other task, by its name.
    """
    display = display or Display()
    names = [resolve(recipe).task or "" for recipe in recipes]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise DataError(f"tasks: two are called {twice[0]!r}; give them names of their own (task: NAME)")
    reports: list[Report] = []
    failed: dict[str, str] = {}
    loaded: dict[object, Backbone] = {}
    for number, (recipe, name) in enumerate(zip(recipes, names, strict=True), 1):
        display.say(f"\n{name} ({number} of {len(recipes)})")
        try:
            config = recipe.backbone
            if config not in loaded:
                loaded[config] = load_backbone(**asdict(config))
            reports.append(adapt(recipe, parent / name, display, loaded[config]))
        except NettailorError as error:
            failed[name] = str(error)
            display.say(f"{name} failed: {error}")
        except Exception as error:  # a fault of ours in one task must not cost the user the other tasks
            failed[name] = f"{type(error).__name__}: {error}"
            display.say(f"{name} failed:\n{traceback.format_exc()}")
    return reports, failed
