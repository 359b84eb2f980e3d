"""Linear probe: a new classifier on the frozen backbone, whose norms keep their statistics."""

from __future__ import annotations

from typing import Literal

from pydantic.dataclasses import dataclass

from blocks import Plan
from nettailor.methods._frozen_backbone import FrozenBackbone
from nettailor.methods._protocol import MethodSettings
from nettailor.schema import STRICT


@dataclass(config=STRICT, frozen=True)
class Settings(MethodSettings):
    """It has none of its own."""

    name: Literal["linear"] = "linear"


class Linear(FrozenBackbone):
    """A classifier alone."""

    name = "linear"
    summary = "a new classifier on the frozen backbone"
    settings = Settings
    plan = Plan(skips=0, batch_norm="source")


METHOD = Linear()
