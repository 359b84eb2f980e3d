"""The recipe: every setting of a run, in one typed tree, put together from the settings of the rooms.

    defaults (in the rooms)  <-  the method's  <-  recipe YAML  <-  section.key=value  <-  options   ->  Recipe, validated

The defaults are the default recipe. What stands under `method` is the method's own: its name, and settings that only it has.
"""

from __future__ import annotations

import json
from dataclasses import asdict, field, replace
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import Field
from pydantic.dataclasses import dataclass

from blocks.proxies import AUTO, POINTWISE
from nettailor import methods
from nettailor.artifacts.cost_table import Unit
from nettailor.artifacts.delta import DESCRIPTION
from nettailor.artifacts.run_folder import RunFolder
from nettailor.backbones.config import BackboneConfig
from nettailor.config.library import OLD_METHOD_NAMES
from nettailor.config.loading import merge, parse, plain, read_trees
from nettailor.data.config import DataConfig
from nettailor.data.probe_pictures import ProbeConfig
from nettailor.data.source import SourceConfig
from nettailor.environment import MachineConfig
from nettailor.errors import UsageError
from nettailor.files import write_text
from nettailor.methods._protocol import BESIDE, Method, MethodSettings, pictures_of, teacher_settings
from nettailor.pruning.config import PruneConfig
from nettailor.schema import STRICT
from nettailor.training.config import RecoverConfig, StudentConfig, TeacherConfig, TrainingConfig

DEFAULT_METHOD = "nettailor"
BEFORE: dict[str, dict[str, Any]] = {
    "teacher": {"start": "fresh"},
    "student": {"start": "backbone", "views": 0},
    "prune": {"largest_loss": 0.0, "folds": 0, "cut": "fade"},
}
"""What runs did before there were these settings."""


def _default_method() -> MethodSettings:
    return methods.find(DEFAULT_METHOD).settings(name=DEFAULT_METHOD)


@dataclass(config=STRICT, frozen=True)
class Recipe:
    """All settings of one adaptation."""

    task: Annotated[str | None, Field(description="name of the task; the data's name if left out")] = None
    seed: Annotated[int, Field(ge=0)] = 0
    cost: Annotated[Unit, Field(description="what the penalty and pruning count: macs, params, latency")] = "macs"
    cost_table: Annotated[
        str | None, Field(description="latency: a table of nettailor profile; measured anew if left out")
    ] = None
    method: MethodSettings = field(default_factory=_default_method)
    data: DataConfig = field(default_factory=DataConfig)
    backbone: BackboneConfig = field(default_factory=BackboneConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)
    teacher: TeacherConfig = field(default_factory=TeacherConfig)
    student: StudentConfig = field(default_factory=StudentConfig)
    prune: PruneConfig = field(default_factory=PruneConfig)
    recover: RecoverConfig = field(default_factory=RecoverConfig)
    source: SourceConfig = field(default_factory=SourceConfig)
    probe: ProbeConfig = field(default_factory=ProbeConfig)
    machine: MachineConfig = field(default_factory=MachineConfig)

    def as_dict(self) -> dict[str, Any]:
        """The tree as plain values, as YAML and JSON hold it."""
        return plain(asdict(self))

    def find_method(self) -> Method:
        """The method that runs it."""
        return methods.find(self.method.name)

    def with_method(self, name: str) -> Recipe:
        """The same data, backbone, teacher, seed and machine for another method.

        A method that brings its own settings for student, pruning and recovery gets those; the others read the student's. A
        shared prefix goes along to methods that can have one; the others have none. So do source and probe pictures.
        """
        method = methods.find(name)
        own = {section: type(getattr(self, section))(**keys) for section, keys in method.defaults.items()}
        other = replace(self, method=method.settings(name=method.name), **own).without_unread()
        shared = self.student.shared_prefix if method.shares_prefix else 0
        if other.student.shared_prefix == shared:
            return other
        return replace(other, student=replace(other.student, shared_prefix=shared))

    def without_unread(self) -> Recipe:
        """The recipe without source and probe pictures that its method would not read."""
        unread = [section for section in BESIDE if section not in pictures_of(self)]
        return replace(self, **{section: type(getattr(self, section))() for section in unread})

    def write(self, path: Path) -> None:
        """Write the resolved recipe; running it again in another folder repeats the run."""
        text = yaml.safe_dump(self.as_dict(), sort_keys=False)
        write_text(path, f"# Repeat this run: nettailor adapt --recipe {path} --out ANOTHER\n{text}")

    @classmethod
    def read(cls, path: Path) -> Recipe:
        """Read a run's own recipe, which has no `tasks`. One of version 0.1.0 names no method: its report does."""
        ((tree, origin),) = read_trees(path)
        if "method" not in tree:
            tree["method"] = {"name": _method_of_old_run(tree, path.parent / "report.json")}
        return parse_recipe(_as_it_meant(tree), origin)


def parse_recipe(tree: dict[str, Any], origin: str) -> Recipe:
    """Validate a tree of plain values.

    Args:
        tree: sections by name; `method` may be a name alone.
        origin: where the tree comes from, for messages.

    Raises:
        UsageError: an unknown key (with the nearest right one), a value of the wrong type or out of range.
    """
    given = tree.get("method") or {}
    own = {"name": given} if isinstance(given, str) else given
    if not isinstance(own, dict):
        raise UsageError(f"{origin}: method: is a name, or a name and its settings, but it is {given!r}")
    method = methods.find(str(own.get("name", DEFAULT_METHOD)), f"{origin}: method.name")
    settings = parse(method.settings, {**own, "name": method.name}, origin, "method.")
    recipe = parse(Recipe, {**merge(dict(method.defaults), tree), "method": settings}, origin)
    teacher_settings(recipe.teacher, origin)
    return recipe


def read_recipes(path: Path, overrides: dict[str, Any] | None = None) -> list[Recipe]:
    """Read a YAML file: one recipe, or one for each entry of its `tasks`; `overrides` are laid over each.

    Raises:
        UsageError: no such file, no valid YAML, or no valid recipe.
    """
    return [parse_recipe(_as_it_meant(tree), origin) for tree, origin in read_trees(path, overrides)]


def with_costs_of(recipe: Recipe, path: Path, out: Path) -> Recipe:
    """A recipe that repeats the run at `path` in another folder counts in the milliseconds that were measured there."""
    costs = path.parent / "costs.json"
    is_runs = path.name == "recipe.yaml" and costs.is_file() and out.resolve() != path.parent.resolve()
    if not is_runs or recipe.cost != "latency" or recipe.cost_table is not None:
        return recipe
    return replace(recipe, cost_table=str(costs.resolve()))


def _as_it_meant(tree: dict[str, Any]) -> dict[str, Any]:
    """The recipe of an older version's run, which has every key of that version, with the settings that it lacks."""
    whole = all(isinstance(tree.get(section), dict) for section in ("data", "backbone", *BEFORE, "recover", "machine"))
    if not whole or "label_smoothing" not in tree["teacher"]:
        return tree
    made = {**tree, **{section: {**settings, **tree[section]} for section, settings in BEFORE.items()}}
    if "views" not in tree["student"] and tree["student"].get("proxies") == AUTO:  # 0.1.0 thinned no block
        made["student"]["proxies"] = POINTWISE
    return made


def _method_of_old_run(tree: dict[str, Any], report: Path) -> str:
    """Version 0.1.0 had NetTailor and the paper's procedure in one, and called fine-tuning `teacher`."""
    if isinstance(tree.get("prune"), dict) and tree["prune"].get("how") == "paper":
        return "paper"
    if report.is_file():
        try:
            name = json.loads(report.read_text(encoding="utf-8")).get("method")
        except (OSError, ValueError, AttributeError):
            return DEFAULT_METHOD  # a report that can't be read is named by whoever needs it
        name = OLD_METHOD_NAMES.get(name, name)
        return name if name in methods.names() else DEFAULT_METHOD
    return DEFAULT_METHOD


def own_recipe(named: Path) -> Recipe | None:
    """The recipe of a run, where the user named the run's folder itself.

    None for a delta's folder, whatever lies beside it: a recipe that came along with a file must choose nothing.

    Raises:
        UsageError: the recipe is none.
    """
    folder = RunFolder(named)
    is_run = folder.recipe.is_file() and (folder.report.is_file() or folder.split.is_file())
    return Recipe.read(folder.recipe) if is_run and (folder.delta / DESCRIPTION).is_file() else None
