"""A shallower cut: the backbone's first blocks with a new classifier on their mean, all of it fine-tuned. A control.

As many blocks as make up the wanted part of the backbone's MACs.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from blocks.shallow import ShallowNet, depth_for
from nettailor.methods._protocol import Context, FinishedRun, MethodSettings
from nettailor.methods._whole_net import WholeNetMethod, WholeSettings
from nettailor.schema import STRICT

ROUNDING = 1e-9  # a part of the MACs is a quotient; it must not ask for a block more by its last bit


@dataclass(config=STRICT, frozen=True)
class Settings(WholeSettings):
    """How deep the cut is."""

    name: Literal["shallow"] = "shallow"
    macs: Annotated[
        float, Field(gt=0, le=1, description="at least this part of the backbone's MACs; compare takes our net's")
    ] = 1.0


class Shallow(WholeNetMethod):
    """The backbone's first blocks, fine-tuned."""

    name = "shallow"
    summary = "the backbone's first blocks and a new classifier, fine-tuned"
    settings: type[MethodSettings] = Settings

    def build(self, context: Context) -> ShallowNet:
        """Copies of the first blocks."""
        backbone, own = context.backbone, context.recipe.method
        assert isinstance(own, Settings)
        depth = depth_for(backbone, own.macs * backbone.cost.macs * (1 - ROUNDING))
        return ShallowNet(backbone, depth, len(context.task.classes))

    def sized(self, own: MethodSettings, other: FinishedRun) -> MethodSettings:
        """At least as many MACs as the compact net of another run, and as many passes as all of it."""
        sized = super().sized(own, other)
        assert isinstance(sized, Settings)
        return replace(sized, macs=min(1.0, other.report.compact.macs / other.report.backbone.macs))


METHOD = Shallow()
