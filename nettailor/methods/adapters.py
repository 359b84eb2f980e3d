"""Residual adapters: batch-norm tuning, and a 1x1 convolution beside every larger one (Rebuffi et al., 2018)."""

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

    name: Literal["adapters"] = "adapters"


class Adapters(FrozenBackbone):
    """A classifier, the norms and parallel adapters."""

    name = "adapters"
    summary = "batch-norm tuning, and a 1x1 convolution beside every larger one"
    settings = Settings
    plan = Plan(skips=0, batch_norm="affine", adapters=True)


METHOD = Adapters()
