"""Batch-norm tuning: a new classifier, and statistics, scale and shift of every norm."""

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

    name: Literal["batch_norm"] = "batch_norm"


class BatchNorm(FrozenBackbone):
    """A classifier and the norms."""

    name = "batch_norm"
    summary = "a new classifier, and every norm's statistics, scale and shift"
    settings = Settings
    plan = Plan(skips=0, batch_norm="affine")


METHOD = BatchNorm()
