"""Batch-norm tuning: a new classifier, and statistics, scale and shift of every norm."""

from __future__ import annotations

from blocks import Plan
from nettailor.methods._frozen_backbone import FrozenBackbone


class BatchNorm(FrozenBackbone):
    """A classifier and the norms."""

    name = "batch_norm"
    summary = "a new classifier, and every norm's statistics, scale and shift"
    plan = Plan(skips=0, batch_norm="affine")


METHOD = BatchNorm()
