"""Recipes as trees: YAML files and `section.key=value` overrides in, a checked dataclass out.

    defaults  <-  recipe YAML  <-  section.key=value  <-  command-line options   ->  parse -> a recipe, validated

What a recipe holds is not known here: every function is given its dataclass, which `nettailor.jobs.recipe` puts together from
the settings of the rooms. A YAML with a list `tasks` stands for one recipe per entry: what stands beside the list holds for
all of them, what stands in an entry for that task alone.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

import yaml
from pydantic import TypeAdapter, ValidationError

from nettailor.errors import UsageError, did_you_mean

T = TypeVar("T")


def parse(kind: type[T], tree: dict[str, Any], origin: str, section: str = "") -> T:
    """Validate a tree of plain values.

    Args:
        kind: a pydantic dataclass of sections, each a pydantic dataclass of settings.
        origin: where the tree comes from, for messages.
        section: what stands before the keys in messages, if the tree is a part of another.

    Raises:
        UsageError: an unknown key (with the nearest right one), a value of the wrong type or out of range.
    """
    try:
        return TypeAdapter(kind).validate_python(tree)
    except ValidationError as error:
        raise UsageError("\n".join(_explain(kind, e, origin, section) for e in error.errors()[:2])) from None


def read_trees(path: Path, overrides: dict[str, Any] | None = None) -> list[tuple[dict[str, Any], str]]:
    """Read a YAML file: one tree, or one for each entry of its `tasks`, each with its origin; `overrides` are laid over each.

    Raises:
        UsageError: no such file, no valid YAML, or no mapping.
    """
    try:
        tree = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"{path}: can't be read ({error.strerror})") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: is no valid YAML: {' '.join(str(error).split())}") from error
    tree = {} if tree is None else tree
    if not isinstance(tree, dict):
        raise UsageError(f"{path}: a recipe is a mapping of sections, not a {type(tree).__name__}")
    if "tasks" not in tree:
        return [(merge(tree, overrides or {}), str(path))]
    entries = tree.pop("tasks")
    if not isinstance(entries, list) or not entries or not all(isinstance(entry, dict) for entry in entries):
        raise UsageError(f"{path}: tasks: must be a list of recipes, each a mapping of sections")
    return [
        (merge(merge(tree, entry), overrides or {}), f"{path}: task {number}")
        for number, entry in enumerate(entries, 1)
    ]


def parse_overrides(words: list[str]) -> dict[str, Any]:
    """`["student.epochs=3", ...]` as a tree.

    Raises:
        UsageError: a word has no `=`, or its value is no YAML.
    """
    tree: dict[str, Any] = {}
    for word in words:
        name, equals, text = word.partition("=")
        if not equals or not name:
            raise UsageError(f"{word!r}: an override is written section.key=value, for example student.epochs=20")
        try:
            value = yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise UsageError(f"{name}: {text!r} is no value") from error
        for key in reversed(name.split(".")):
            value = {key: value}
        tree = merge(tree, value)
    return tree


def merge(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    """Lay one tree over another, section by section; another method's settings have no meaning for one that is named anew."""
    below, above = dict(below), dict(above)
    for tree in (below, above):
        if "method" in tree:
            tree["method"] = _named(tree["method"])
    if _renames(below.get("method"), above.get("method"), "name"):
        del below["method"]
    if _renames(below.get("teacher"), above.get("teacher"), "method"):
        below["teacher"] = {key: value for key, value in below["teacher"].items() if key != "settings"}
    return _laid_over(below, above)


def _laid_over(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    result = dict(below)
    for key, value in above.items():
        old = result.get(key)
        result[key] = _laid_over(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return result


def _renames(below: Any, above: Any, key: str) -> bool:
    """Whether a section names another method than the one that it is laid over."""
    both = isinstance(below, dict) and isinstance(above, dict)
    return both and key in below and above.get(key, below[key]) != below[key]


def _named(value: Any) -> Any:
    """A section that is given by a name alone, as a tree."""
    return {"name": value} if isinstance(value, str) else value


WHERE_AND_HOW_FAST = ("machine.", "data.workers")
"""Keys, by how they begin, that no result depends on."""


def differences(one: dict[str, Any], other: dict[str, Any]) -> dict[str, str]:
    """The keys in which two recipes, as trees, differ, each with what the first one has, as it is typed on a command line.

    Where and how fast they run does not count.
    """
    mine, theirs = dict(_leaves(one)), dict(_leaves(other))
    keys = [*mine, *(key for key in theirs if key not in mine)]
    different = [key for key in keys if _differs(key, mine, theirs) and not key.startswith(WHERE_AND_HOW_FAST)]
    return {key: _typed(key, mine[key]) if key in mine else f"no {key}" for key in different}


def _typed(key: str, value: Any) -> str:
    return f"{key}={value if isinstance(value, str) else json.dumps(value)}"


def _differs(key: str, mine: dict[str, Any], theirs: dict[str, Any]) -> bool:
    return key not in mine or key not in theirs or mine[key] != theirs[key]


def _leaves(tree: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in tree.items():
        if isinstance(value, dict):
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value


def plain(value: Any) -> Any:
    """Tuples as lists, all the way down: as YAML and JSON hold them."""
    if isinstance(value, dict):
        return {key: plain(inner) for key, inner in value.items()}
    return [plain(inner) for inner in value] if isinstance(value, list | tuple) else value


def _explain(kind: type, error: Any, origin: str, section: str) -> str:
    place = section + ".".join(str(part) for part in error["loc"])
    if error["type"] == "unexpected_keyword_argument":
        return f"{origin}: {place}: no such key{_nearest(kind, error['loc'])}"
    message = error["msg"][0].lower() + error["msg"][1:]
    return f"{origin}: {place}: {message}, but it is {error['input']!r}"


def _nearest(kind: type, location: tuple[Any, ...]) -> str:
    section: Any = kind
    for part in location[:-1]:
        section = get_type_hints(section).get(str(part), section)
    if not is_dataclass(section):
        return ""
    known = [entry.name for entry in fields(section)]
    inner = [f"{s.name}.{location[-1]}" for s in fields(kind) if _has(kind, s.name, str(location[-1]))]
    otherwise = f"; there are {', '.join(known)}"
    if section is kind and inner:
        otherwise = did_you_mean(inner[0], inner[:1])
    return did_you_mean(str(location[-1]), known, otherwise)


def _has(kind: type, section: str, key: str) -> bool:
    inner = get_type_hints(kind).get(section)
    return is_dataclass(inner) and key in {entry.name for entry in fields(inner)}
