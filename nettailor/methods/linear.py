"""Linear probe: a new classifier on the frozen backbone, whose norms keep their statistics."""

from __future__ import annotations

from blocks import Plan
from nettailor.methods._frozen_backbone import FrozenBackbone


class Linear(FrozenBackbone):
    """A classifier alone."""

    name = "linear"
    summary = "a new classifier on the frozen backbone"
    plan = Plan(skips=0, batch_norm="source")


METHOD = Linear()
