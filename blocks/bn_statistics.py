"""Running statistics of the norms that a task owns, estimated anew.

net, batches -> recalibrate_norms -> plain means over the batches, in place
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm


@torch.no_grad()
def recalibrate_norms(net: nn.Module, batches: Iterable[Tensor]) -> None:
    """Estimate the running statistics of the norms that a net trains anew, as plain means over batches (B, 3, H, W).

    Norms that stay in eval mode under `net.train()` (the backbone's own) keep theirs. The net's mode is put back. No batch
    may be of one picture at 1x1 resolution, where it has no variance (`blocks.batching`).
    """
    was_training = net.training
    net.train()
    norms = [part for part in net.modules() if isinstance(part, _BatchNorm) and part.training]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a cumulative mean
    try:
        for x in batches:
            net(x)
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
        net.train(was_training)
