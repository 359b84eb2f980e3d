"""The first blocks of every stage of the backbone, all of it fine-tuned: a smaller net of the same family. A control.

A stage is a run of blocks whose outputs have one shape; its first block changes the shape, so what is left is a chain. The
pretrained weights stay with their blocks, and the backbone's head with a new classifier.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from blocks import NetPlan
from blocks.whole import WholeNet, first_of_each_stage
from nettailor.errors import UsageError
from nettailor.methods._protocol import Context, MethodSettings
from nettailor.methods._whole_net import WholeNetMethod, WholeSettings
from nettailor.schema import STRICT


@dataclass(config=STRICT, frozen=True)
class Settings(WholeSettings):
    """How much is left of a stage."""

    name: Literal["blocks_per_stage"] = "blocks_per_stage"
    blocks: Annotated[int, Field(ge=1, description="that are kept of every stage, its first")] = 1


class BlocksPerStage(WholeNetMethod):
    """The first blocks of every stage, fine-tuned."""

    name = "blocks_per_stage"
    summary = "the first blocks of every stage of the backbone, fine-tuned"
    settings: type[MethodSettings] = Settings
    variants: Mapping[str, Mapping[str, Any]] = {"two": {"blocks": 2}, **WholeNetMethod.variants}

    def build(self, context: Context) -> WholeNet:
        """Copies of those blocks."""
        own = context.recipe.method
        assert isinstance(own, Settings)
        try:
            paths = first_of_each_stage(context.backbone, own.blocks)
        except ValueError as error:
            raise UsageError(f"{self.name}: {error}") from error
        plan = NetPlan(paths, len(context.task.classes), copied=True, gated=False)
        return WholeNet(context.backbone, plan)


METHOD = BlocksPerStage()
