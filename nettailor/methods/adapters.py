"""Residual adapters: batch-norm tuning, and a 1x1 convolution beside every larger one (Rebuffi et al., 2018)."""

from __future__ import annotations

from blocks import Plan
from nettailor.methods._frozen_backbone import FrozenBackbone


class Adapters(FrozenBackbone):
    """A classifier, the norms and parallel adapters."""

    name = "adapters"
    summary = "batch-norm tuning, and a 1x1 convolution beside every larger one"
    plan = Plan(skips=0, batch_norm="affine", adapters=True)


METHOD = Adapters()
