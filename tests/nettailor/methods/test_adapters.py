"""Residual adapters: batch-norm tuning, and a 1x1 convolution beside every larger one."""

from __future__ import annotations

from torch import nn

from blocks import Backbone, TailoredNet
from nettailor.methods import batch_norm
from nettailor.methods.adapters import METHOD


def test_beside_the_norms_it_owns_a_1x1_kernel_for_every_larger_one(backbone: Backbone) -> None:
    net, tuned = (TailoredNet(backbone, 5, plan) for plan in (METHOD.plan, batch_norm.METHOD.plan))
    norms = sum(p.numel() for p in tuned.trained_parameters())
    larger = [module for module in backbone.modules() if isinstance(module, nn.Conv2d) and max(module.kernel_size) > 1]
    kernels = sum(module.in_channels * module.out_channels for module in larger)
    assert larger
    assert sum(p.numel() for p in net.trained_parameters()) - norms == kernels
