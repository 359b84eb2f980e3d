"""The recipe: every choice of a run, in one typed tree, put together from the settings of the rooms.

    defaults (in the rooms)  <-  recipe YAML  <-  section.key=value  <-  command-line options   ->  Recipe, validated

The defaults are the default recipe.
"""

from __future__ import annotations

from dataclasses import asdict, field
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import Field
from pydantic.dataclasses import dataclass

from nettailor.artifacts.delta import DESCRIPTION
from nettailor.artifacts.run_folder import RunFolder
from nettailor.backbones.config import BackboneConfig
from nettailor.config.loading import parse, plain, read_trees
from nettailor.data.config import DataConfig
from nettailor.environment import MachineConfig
from nettailor.files import write_text
from nettailor.pruning.config import PruneConfig
from nettailor.schema import STRICT
from nettailor.training.config import RecoverConfig, StudentConfig, TeacherConfig


@dataclass(config=STRICT, frozen=True)
class Recipe:
    """All choices of one adaptation."""

    task: Annotated[str | None, Field(description="name of the task; the data's name if left out")] = None
    seed: Annotated[int, Field(ge=0)] = 0
    cost: Annotated[
        Literal["macs", "params", "latency"],
        Field(description="what the penalty and pruning count: macs, params, latency"),
    ] = "macs"
    cost_table: Annotated[
        str | None, Field(description="latency: a table of nettailor profile; measured anew if left out")
    ] = None
    data: DataConfig = field(default_factory=DataConfig)
    backbone: BackboneConfig = field(default_factory=BackboneConfig)
    teacher: TeacherConfig = field(default_factory=TeacherConfig)
    student: StudentConfig = field(default_factory=StudentConfig)
    prune: PruneConfig = field(default_factory=PruneConfig)
    recover: RecoverConfig = field(default_factory=RecoverConfig)
    machine: MachineConfig = field(default_factory=MachineConfig)

    def as_dict(self) -> dict[str, Any]:
        """The tree as plain values, as YAML and JSON hold it."""
        return plain(asdict(self))

    def write(self, path: Path) -> None:
        """Write the resolved recipe; running it again repeats the run."""
        text = yaml.safe_dump(self.as_dict(), sort_keys=False)
        write_text(path, f"# Repeat this run: nettailor adapt --recipe {path}\n{text}")

    @classmethod
    def read(cls, path: Path) -> Recipe:
        """Read a run's own recipe, which has no `tasks`."""
        (recipe,) = read_recipes(path)
        return recipe


def parse_recipe(tree: dict[str, Any], origin: str) -> Recipe:
    """Validate a tree of plain values.

    Args:
        origin: where the tree comes from, for messages.

    Raises:
        UsageError: an unknown key (with the nearest right one), a value of the wrong type or out of range.
    """
    return parse(Recipe, tree, origin)


def read_recipes(path: Path, overrides: dict[str, Any] | None = None) -> list[Recipe]:
    """Read a YAML file: one recipe, or one for each entry of its `tasks`; `overrides` are laid over each.

    Raises:
        UsageError: no such file, no valid YAML, or no valid recipe.
    """
    return [parse_recipe(tree, origin) for tree, origin in read_trees(path, overrides)]


def own_recipe(named: Path) -> Recipe | None:
    """The recipe of a run, where the user named the run's folder itself.

    None for a delta's folder, whatever lies beside it: a recipe that came along with a file must choose nothing.

    Raises:
        UsageError: the recipe is none.
    """
    folder = RunFolder(named)
    is_run = folder.recipe.is_file() and (folder.report.is_file() or folder.split.is_file())
    return Recipe.read(folder.recipe) if is_run and (folder.delta / DESCRIPTION).is_file() else None
