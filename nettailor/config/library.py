"""What comes with the package, found by name and not imported: methods, and recipes, each of which opens with its command
and its expected result."""

from __future__ import annotations

import pkgutil
from importlib.resources import files
from pathlib import Path

from nettailor.errors import UsageError, did_you_mean


def method_names() -> list[str]:
    """Every method's name: that of its file in `nettailor/methods`."""
    folder = Path(__file__).parents[1] / "methods"
    return sorted(module.name for module in pkgutil.iter_modules([str(folder)]) if not module.name.startswith("_"))


OLD_METHOD_NAMES = {"teacher": "finetune"}
"""What version 0.1.0 called a method, in recipes, reports, deltas and commands."""


def recipe_folder() -> Path:
    """Where the shipped recipes lie."""
    return Path(str(files("recipes")))


STUDIES = "studies/"
"""How the names of shipped studies begin: their folder."""


def shipped_recipes() -> dict[str, Path]:
    """Every shipped YAML recipe, in folders too, by its name without the ending; studies are not among them."""
    return {name: path for name, path in _yaml_files().items() if not name.startswith(STUDIES)}


def shipped_studies() -> dict[str, Path]:
    """Every shipped study, by its name without the ending."""
    return {name: path for name, path in _yaml_files().items() if name.startswith(STUDIES)}


def _yaml_files() -> dict[str, Path]:
    folder = recipe_folder()
    return {path.relative_to(folder).with_suffix("").as_posix(): path for path in sorted(folder.rglob("*.yaml"))}


def shipped_procedures() -> dict[str, Path]:
    """Every shipped procedure that is code, in folders too, by its file's name without the ending.

    `_name.py` is a part of one.
    """
    return {path.stem: path for path in sorted(recipe_folder().rglob("*.py")) if not path.stem.startswith("_")}


def procedure_module(name: str) -> str:
    """The module of a shipped procedure: what stands after `python -m`."""
    inner = shipped_procedures()[name].relative_to(recipe_folder()).with_suffix("")
    return ".".join(("recipes", *inner.parts))


def find_recipe(name: str) -> Path:
    """A recipe by the name of a shipped one, or by its path.

    Raises:
        UsageError: neither; the nearest shipped name is given.
    """
    return _find(name, shipped_recipes(), f"--recipe {name}: no such file or shipped recipe")


def find_study(name: str) -> Path:
    """A study by the name of a shipped one, or by its path.

    Raises:
        UsageError: neither; the nearest shipped name is given.
    """
    return _find(name, shipped_studies(), f"{name}: no such file or shipped study")


def _find(name: str, known: dict[str, Path], problem: str) -> Path:
    if name in known:
        return known[name]
    if Path(name).is_file():
        return Path(name)
    raise UsageError(problem + did_you_mean(name, known, f"; there are {', '.join(known)}"))


def headline(path: Path) -> str:
    """What a recipe or procedure is for: its first line of text."""
    for line in path.read_text(encoding="utf-8").splitlines():
        text = line.strip().strip("#").strip('"').strip()
        if text:
            return text
    return ""
