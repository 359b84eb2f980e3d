"""The grid of a study as cells: each a recipe, with the small source network that it needs and the pictures of its source.

    StudyFile -> plan -> Cell, Cell, ...      every recipe is checked before anything is written

A factor that a cell's method does not have leaves it alone, and cells that are then the same are one cell.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

import yaml

from nettailor import methods
from nettailor.artifacts.study import Value
from nettailor.backbones.config import BackboneConfig
from nettailor.config.loading import differences, merge, parse
from nettailor.errors import UsageError
from nettailor.jobs.context import resolve
from nettailor.jobs.recipe import Recipe, parse_recipe
from nettailor.jobs.study_file import (
    FACTORS,
    PAIR,
    PRETRAINED_ON,
    SOURCE_CLASSES,
    SOURCE_PICTURES,
    USUAL_METHOD,
    PretrainedOn,
    StudyFile,
    is_where,
)
from nettailor.jobs.study_sources import WEIGHTS, SourceNet, short_hash, source_net, whole_path
from nettailor.training.pretraining import PretrainConfig


@dataclass(frozen=True)
class Cell:
    """One run of a study.

    Attributes:
        factors: what each factor is here, as tables show it; None where its method does not have the factor.
        recipe: resolved.
        where: values of the factors that decide what it is trained on: a cell and its baselines share them.
        source: the pictures that its backbone was pretrained on, where they are named.
        net: the small source network that is its backbone, where one is.
        baseline: whether it is there to compare others with.
    """

    factors: Mapping[str, Value]
    recipe: Recipe
    where: tuple[Value, ...]
    source: PretrainedOn | None
    net: SourceNet | None
    baseline: bool = False

    @property
    def name(self) -> str:
        """Its folder's name: the same for the same recipe, machine aside."""
        return f"{self.recipe.method.name}-seed{self.recipe.seed}-{recipe_key(self.recipe)}"


def plan(study: StudyFile, sources: Path, origin: str) -> list[Cell]:
    """The cells of a study, each choice once, baselines behind the others. Two choices may come to the same run.

    Args:
        sources: absolute path of the folder in which small source networks will lie.
        origin: the file, for messages.

    Raises:
        UsageError: a cell's recipe is refused, or no method of the study has a factor.
    """
    axes = study.axes()
    cells: dict[tuple[Value, ...], Cell] = {}
    for chosen in _combinations(axes):
        cell = _cell(study, chosen, sources, origin)
        cells.setdefault((cell.name, *cell.factors.values()), cell)
    for name in axes:
        if all(cell.factors[name] is None for cell in cells.values()):
            raise UsageError(f"{origin}: factors.{name}: no method of this study has {FACTORS.get(name, name)}")
    grid = {cell.name for cell in cells.values()}
    for method in study.baselines:
        methods.find(method, f"{origin}: baselines")
        for chosen in _combinations({name: values for name, values in axes.items() if is_where(name)}):
            cell = _cell(study, {**chosen, "method": method}, sources, origin)
            factors = {name: cell.factors.get(name) for name in axes}
            if cell.name not in grid:
                cells.setdefault((cell.name, *factors.values()), replace(cell, factors=factors, baseline=True))
    return list(cells.values())


def _combinations(axes: Mapping[str, list[Any]]) -> Iterator[dict[str, Any]]:
    for values in product(*axes.values()):
        yield dict(zip(axes, values, strict=True))


def _cell(study: StudyFile, chosen: Mapping[str, Any], sources: Path, origin: str) -> Cell:
    """The cell of some values of the factors."""
    tree = merge({"method": USUAL_METHOD}, study.base)
    if PAIR in chosen:
        tree = merge(tree, study.pairs[chosen[PAIR]])
    if "method" in chosen:
        tree = merge(tree, {"method": chosen["method"]})
    factors: dict[str, Value] = {}
    for name, value in chosen.items():
        key = FACTORS.get(name, name)
        has = _has(tree["method"], key, origin)
        factors[name] = shown(value) if has else None
        if has and name in (PAIR, SOURCE_CLASSES, SOURCE_PICTURES, "method"):
            continue
        if has:
            for part in reversed(key.split(".")):
                value = {part: value}
            tree = merge(tree, value)
    where = f"{origin}: cell of {choice_of(factors)}"
    net = _source_net(study, chosen, tree, where)
    if net is not None:
        tree = merge(tree, {"backbone": {"name": net.name, "weights": str(sources / net.key / WEIGHTS)}})
    pictures = tree.pop(PRETRAINED_ON, None)
    recipe = parse_recipe(tree, where)
    source = _pretrained_on(pictures, net, recipe, where)
    at = tuple(factors[name] for name in factors if is_where(name))
    try:
        recipe = resolve(recipe.without_unread())
    except UsageError as error:
        raise UsageError(f"{where}: {error}") from error
    return Cell(factors, recipe, at, source, net)


def choice_of(factors: Mapping[str, Value]) -> str:
    """What a cell's factors are, in words."""
    return ", ".join(f"{name} {value}" for name, value in factors.items() if value is not None)


def _has(named: Any, key: str, origin: str) -> bool:
    """Whether a cell's method has a factor: what is not a setting of its own, all do."""
    section, _, name = key.partition(".")
    own = named if isinstance(named, str) else str(named.get("name", USUAL_METHOD))
    settings = methods.find(own, f"{origin}: method.name").settings
    return section != "method" or not name or name in settings.__dataclass_fields__  # type: ignore[attr-defined]


def _source_net(study: StudyFile, chosen: Mapping[str, Any], tree: Mapping[str, Any], where: str) -> SourceNet | None:
    if SOURCE_CLASSES not in chosen and SOURCE_PICTURES not in chosen:
        return None
    own = study.pretrain
    backbone: BackboneConfig = parse(BackboneConfig, tree.get("backbone") or {}, where, "backbone.")
    if backbone.weights is not None:
        raise UsageError(f"{where}: backbone.weights: small sources are pretrained from random weights; leave it out")
    amount = chosen.get(SOURCE_PICTURES) or {"total": own.total, "each": own.each}
    config = PretrainConfig(own.epochs, own.batch, own.lr, own.decay, own.seed)
    classes = chosen.get(SOURCE_CLASSES)
    return source_net(backbone, own.data or "", classes, amount.get("total"), amount.get("each"), config)


def _pretrained_on(pictures: Any, net: SourceNet | None, recipe: Recipe, where: str) -> PretrainedOn | None:
    """What a cell's backbone was pretrained on: as the section says, or a small source's data, or a recipe's own source."""
    own = recipe.source
    if pictures is not None:
        found: PretrainedOn = parse(PretrainedOn, pictures, where, f"{PRETRAINED_ON}.")
    elif net is not None:
        found = PretrainedOn(net.data)
    elif own.data is not None:
        found = PretrainedOn(own.data, own.classes, own.crop)
    else:
        return None
    return replace(found, data=whole_path(found.data))


def recipe_key(recipe: Recipe) -> str:
    """A short hash of all that a recipe sets apart from its method's defaults; where and how fast it runs is no part of it.

    What a later version adds to recipes, at its default, leaves the key as it is.
    """
    tree = recipe.as_dict()
    usual = parse_recipe({"method": recipe.method.name}, "defaults").as_dict()
    own: dict[str, Any] = {}
    for key in differences(tree, usual):
        value: Any = tree
        for part in key.split("."):
            value = value.get(part) if isinstance(value, dict) else None
        own[key] = value
    return short_hash({"method": recipe.method.name, **own})


def shown(value: Any) -> Value:
    """A factor's value as tables and lines show it; what is left out is `null`, as the file says."""
    if value is None:
        return "null"
    if isinstance(value, str | int | float | bool):
        return value
    if isinstance(value, dict) and "name" in value:
        rest = {key: inner for key, inner in value.items() if key != "name"}
        return f"{value['name']} {shown(rest)}" if rest else str(value["name"])
    if isinstance(value, dict):
        return ", ".join(f"{key} {inner}" for key, inner in value.items())
    return " ".join(yaml.safe_dump(value, default_flow_style=True).split())
