"""What many runs would be refused for, each when its turn comes, said before the first of them begins.

recipes -> backbone and pictures of each, found once and not decoded -> what its method, teacher, source and probe allow
"""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Any

from blocks import Backbone
from nettailor.backbones.config import BackboneConfig
from nettailor.backbones.load import load_backbone
from nettailor.data.task import Task, load_task
from nettailor.jobs.context import check_recipe, pictures_beside
from nettailor.jobs.recipe import Recipe

NO_MEMORY = 1e-9  # GiB, in which no picture is kept: they are found, not decoded


class EarlyChecks:
    """Checks recipes one after the other; what they have in common is loaded once, whatever their seeds."""

    def __init__(self) -> None:
        self._backbones: dict[tuple[BackboneConfig, bool], Backbone] = {}
        self._tasks: dict[str, Task] = {}
        self._beside: set[str] = set()

    def backbone(self, config: BackboneConfig, untrained: bool = False) -> Backbone:
        """The backbone that a recipe names.

        Args:
            untrained: its weights are still to be made.

        Raises:
            NettailorError: there is none.
        """
        key = config, untrained
        if key not in self._backbones:
            given = {**asdict(config), "weights": None} if untrained else asdict(config)
            self._backbones[key] = load_backbone(**given, untrained=untrained)
        return self._backbones[key]

    def check(self, recipe: Recipe, untrained: bool = False) -> None:
        """Refuse a resolved recipe for what can be known before it runs.

        Args:
            untrained: the weights of its backbone are still to be made, so that they say nothing.

        Raises:
            NettailorError: as `open_context` would.
        """
        backbone = self.backbone(recipe.backbone, untrained)
        data = replace(recipe.data, memory_gib=NO_MEMORY, skip_bad=False)
        where = repr((data, asdict(backbone.spec)))
        if where not in self._tasks:
            self._tasks[where] = load_task(data, backbone.spec, recipe.seed, recipe.task)
        task, lean = self._tasks[where], replace(recipe, data=data)
        beside: tuple[Any, ...] = (where, recipe.source, recipe.probe, recipe.backbone)
        if repr(beside) not in self._beside:
            pictures_beside(lean, task, backbone)
            self._beside.add(repr(beside))
        check_recipe(lean, backbone, task, untrained=untrained)
