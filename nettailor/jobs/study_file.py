"""What the file of a study says: its grid, what all cells share, source-target pairs, and how small sources are pretrained.

    study.yaml -> read_study -> StudyFile, checked as far as that goes without a cell's recipe (nettailor.jobs.study_cells)

A factor is a short name (`FACTORS`), one of the study's own (`OWN`), or any `section.key` of a recipe.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field, fields
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field
from pydantic.dataclasses import dataclass

from nettailor.config.loading import merge, parse, read_trees
from nettailor.errors import UsageError, did_you_mean
from nettailor.jobs.recipe import Recipe
from nettailor.schema import STRICT, Count
from nettailor.training.pretraining import PretrainConfig

FACTORS: Mapping[str, str] = {
    "rate": "teacher.lr",
    "passes": "teacher.epochs",
    "tune_from": "method.tune_from",
    "per_class": "data.per_class",
    "method": "method",
    "seed": "seed",
}
"""Short names of what a recipe sets."""
PAIR, SOURCE_CLASSES, SOURCE_PICTURES = "pair", "source_classes", "source_pictures"
OWN = (PAIR, SOURCE_CLASSES, SOURCE_PICTURES)
"""Factors that no recipe has: which pictures over which backbone, and what small source networks have seen."""
PRETRAINED_ON = "pretrained_on"
"""The section of a base or a pair, and of no recipe, that names what the backbone was pretrained on."""
WHERE = ("data.", "backbone.", "source.", "task")
"""Factors, by how they begin, that decide what a network is trained on and what with, and not how."""
USUAL_METHOD = "finetune"


@dataclass(config=STRICT, frozen=True)
class PretrainedOn:
    """Pictures that a backbone was pretrained on.

    Attributes:
        classes: regular expression; only classes count whose whole name matches it; all if left out.
        crop: part of the shorter side that is kept, as in pretraining; what is known of the backbone if left out.
    """

    data: str
    classes: str | None = None
    crop: Annotated[float | None, Field(gt=0, le=1)] = None


@dataclass(config=STRICT, frozen=True)
class PretrainFile(PretrainConfig):
    """How small source networks are pretrained, and on what."""

    data: Annotated[str | None, Field(description="class folders, a zip of them, or a named data set")] = None
    total: Annotated[Count | None, Field(description="training pictures in all, shared out evenly")] = None
    each: Annotated[Count | None, Field(description="training pictures of each class")] = None


@dataclass(config=STRICT, frozen=True)
class DistanceFile:
    """How distances are measured: at most so many pictures a side, drawn by the seed."""

    pictures: Annotated[int, Field(ge=10)] = 1000
    seed: Annotated[int, Field(ge=0)] = 0


@dataclass(config=STRICT, frozen=True)
class ChangeFile:
    """How the change of each layer is measured: on so many validation pictures, spread evenly."""

    pictures: Annotated[int, Field(ge=2)] = 500


@dataclass(config=STRICT, frozen=True)
class StudyFile:
    """A study.

    Attributes:
        factors: values of each factor; the study is their grid.
        name: of the study; the file's if left out.
        base: sections of a recipe that all cells share; `pretrained_on` may name the backbone's pictures.
        pairs: sections that go with each value of the factor `pair`, by its name.
        baselines: methods that are run once for the same pictures, backbone and seed, to compare with.
    """

    factors: dict[str, list[Any]]
    name: Annotated[str | None, Field(pattern=r"^[\w.+-]+$")] = None
    base: dict[str, Any] = field(default_factory=dict)
    pairs: dict[str, dict[str, Any]] = field(default_factory=dict)
    baselines: tuple[str, ...] = ()
    pretrain: PretrainFile = field(default_factory=PretrainFile)
    distance: DistanceFile = field(default_factory=DistanceFile)
    change: ChangeFile = field(default_factory=ChangeFile)

    def axes(self) -> dict[str, list[Any]]:
        """The factors in their order; with pairs and no factor `pair`, all of them."""
        return {PAIR: list(self.pairs), **self.factors} if self.pairs and PAIR not in self.factors else self.factors


def read_study(path: Path, overrides: dict[str, Any] | None = None) -> StudyFile:
    """Read and check a study's file; `overrides` are laid over what all cells share.

    Raises:
        UsageError: no such file, no valid YAML; an unknown key or factor, with the nearest right one; an empty axis, or one
            with a value twice; a value that no factor or pair can have.
    """
    found = read_trees(path)
    if len(found) > 1 or "factors" not in found[0][0]:
        raise UsageError(f"{path}: is no study: a mapping factors with the values of each factor is needed")
    study: StudyFile = parse(StudyFile, found[0][0], str(path))
    study = _with(study, base=merge(study.base, overrides or {}), name=study.name or path.stem)
    if not study.factors:
        raise UsageError(f"{path}: factors: is empty; name at least one factor and its values")
    for name, values in study.axes().items():
        _check_name(name, path)
        if not values:
            raise UsageError(f"{path}: factors.{name}: is empty; name at least one value, or leave the factor out")
        if twice := [value for number, value in enumerate(values) if value in values[:number]]:
            raise UsageError(f"{path}: factors.{name}: {twice[0]!r} stands there twice; name every value once")
    _check_pairs(study, path)
    _check_sources(study, path)
    return study


def is_study(path: Path) -> bool:
    """Whether a file is a study's and no recipe: it has factors.

    Raises:
        UsageError: it is no valid YAML.
    """
    return path.is_file() and "factors" in read_trees(path)[0][0]


def is_where(factor: str) -> bool:
    """Whether a factor decides what is trained on and what with, and not how: baselines vary with these alone."""
    key = FACTORS.get(factor, factor)
    return factor in OWN or factor == "seed" or key.startswith(WHERE)


def _with(study: StudyFile, **changes: Any) -> StudyFile:
    return StudyFile(**{**{entry.name: getattr(study, entry.name) for entry in fields(study)}, **changes})


def _check_name(name: str, path: Path) -> None:
    section, dot, key = name.partition(".")
    sections = {entry.name for entry in fields(Recipe)}
    if name in FACTORS or name in OWN or (dot and key and section in sections):
        return
    known = [*FACTORS, *OWN]
    if dot and section:
        hint = did_you_mean(section, sections, "; a recipe has no such section", show=lambda near: f"'{near}.{key}'")
    else:
        hint = did_you_mean(name, known, f"; there are {', '.join(known)}, and any section.key of a recipe")
    raise UsageError(f"{path}: factors.{name}: there is no factor {name!r}{hint}")


def _check_pairs(study: StudyFile, path: Path) -> None:
    for name in study.axes().get(PAIR, []):
        if name not in study.pairs:
            hint = did_you_mean(str(name), study.pairs, "; name it under pairs, with its data and backbone")
            raise UsageError(f"{path}: factors.{PAIR}: there is no pair {name!r}{hint}")


def _check_sources(study: StudyFile, path: Path) -> None:
    wanted = [name for name in (SOURCE_CLASSES, SOURCE_PICTURES) if name in study.factors]
    if not wanted:
        return
    if study.pretrain.data is None:
        raise UsageError(f"{path}: pretrain.data: is needed by the factor {wanted[0]}: the pictures of the sources")
    for value in study.factors.get(SOURCE_CLASSES, []):
        if isinstance(value, bool) or not isinstance(value, int) or value < 2:
            raise UsageError(
                f"{path}: factors.{SOURCE_CLASSES}: {value!r} is no number of classes; at least 2 are needed"
            )
    for value in study.factors.get(SOURCE_PICTURES, []):
        right = isinstance(value, dict) and len(value) == 1 and set(value) <= {"total", "each"}
        if not right or any(isinstance(n, bool) or not isinstance(n, int) or n < 1 for n in value.values()):
            raise UsageError(
                f"{path}: factors.{SOURCE_PICTURES}: {value!r} is no such choice; write {{total: N}} for pictures in all, or "
                "{each: N} for those of each class"
            )
