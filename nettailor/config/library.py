"""The recipes that come with the package, found by name; each opens with its command and its expected result."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from nettailor.errors import UsageError, did_you_mean


def recipe_folder() -> Path:
    """Where the shipped recipes lie."""
    return Path(str(files("recipes")))


def shipped_recipes() -> dict[str, Path]:
    """Every shipped YAML recipe, in folders too, by its name without the ending."""
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
    known = shipped_recipes()
    if name in known:
        return known[name]
    if Path(name).is_file():
        return Path(name)
    hint = did_you_mean(name, known, f"; there are {', '.join(known)}")
    raise UsageError(f"--recipe {name}: no such file or shipped recipe{hint}")


def headline(path: Path) -> str:
    """What a recipe or procedure is for: its first line of text."""
    for line in path.read_text(encoding="utf-8").splitlines():
        text = line.strip().strip("#").strip('"').strip()
        if text:
            return text
    return ""
