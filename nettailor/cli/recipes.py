"""The verb that looks at the shipped recipes: list, print, copy, run, check."""

from __future__ import annotations

import runpy
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from nettailor.cli.options import position
from nettailor.config.library import (
    find_recipe,
    headline,
    procedure_module,
    shipped_procedures,
    shipped_recipes,
    shipped_studies,
)
from nettailor.errors import FileError, UsageError


@dataclass
class RecipesOptions:
    """List, read, copy, run and check recipes: ls, cat NAME, cp NAME FILE, run NAME [...], validate NAME|FILE.

    `run` passes what follows the name on: to `adapt` for a YAML recipe, to `study` for a study, to the procedure itself for
    one that is code.
    """

    action: str = position("ls, cat, cp, run or validate", "ACTION")
    words: list[str] = position("what the action needs", "ARGUMENT", rest=True)


def recipes(options: RecipesOptions) -> int:
    """`nettailor recipes`."""
    actions: dict[str, Callable[[list[str]], int]] = {
        "ls": _list_recipes,
        "cat": _print_recipe,
        "cp": _copy_recipe,
        "run": _run_recipe,
        "validate": _validate_recipe,
    }
    if options.action not in actions:
        raise UsageError(f"recipes: there is no {options.action!r}; there are {', '.join(actions)}")
    return actions[options.action](options.words or [])


def _list_recipes(words: list[str]) -> int:
    _want(words, 0, "recipes ls")
    known = shipped_recipes() | shipped_studies() | shipped_procedures()
    width = max(len(name) for name in known)
    for name, path in known.items():
        print(f"{name:<{width}}  {headline(path)}")
    return 0


def _print_recipe(words: list[str]) -> int:
    _want(words, 1, "recipes cat NAME")
    path = shipped_procedures().get(words[0]) or shipped_studies().get(words[0]) or find_recipe(words[0])
    print(path.read_text(encoding="utf-8"), end="")
    return 0


def _copy_recipe(words: list[str]) -> int:
    _want(words, 2, "recipes cp NAME FILE")
    target = Path(words[1])
    if target.exists():
        raise FileError(target, "exists already; choose another name")
    study = shipped_studies().get(words[0])
    source = study or find_recipe(words[0])
    try:
        shutil.copyfile(source, target)
    except OSError as error:
        raise FileError(target, f"can't be written ({error.strerror})") from error
    command = f"nettailor study {target}" if study is not None else f"nettailor adapt --recipe {target}"
    print(f"{source.name} copied to {target}; run it with: {command}")
    return 0


def _run_recipe(words: list[str]) -> int:
    if not words:
        raise UsageError("recipes run NAME [arguments]")
    name, rest = words[0], words[1:]
    if name in shipped_procedures():
        sys.argv = [name, *rest]
        runpy.run_module(procedure_module(name), run_name="__main__")
        return 0
    from nettailor.cli.adapt import AdaptOptions, adapt
    from nettailor.cli.options import parse
    from nettailor.cli.study import StudyOptions, study

    if name in shipped_studies():
        return study(parse("study", StudyOptions, [name, *rest]))
    return adapt(parse("adapt", AdaptOptions, ["--recipe", name, *rest]))


def _validate_recipe(words: list[str]) -> int:
    from nettailor.jobs.recipe import read_recipes
    from nettailor.jobs.study_cells import plan
    from nettailor.jobs.study_file import is_study, read_study

    _want(words, 1, "recipes validate NAME|FILE")
    path = shipped_studies().get(words[0])
    if path is not None or is_study(Path(words[0])):
        cells = plan(read_study(path or Path(words[0])), Path("sources"), words[0])
        print(f"{words[0]}: valid, a study of {len(cells)} cells")
        return 0
    found = read_recipes(find_recipe(words[0]))
    print(f"{words[0]}: valid, {len(found)} task{'s' if len(found) > 1 else ''}")
    return 0


def _want(words: list[str], count: int, usage: str) -> None:
    if len(words) != count:
        raise UsageError(f"usage: nettailor {usage}")
