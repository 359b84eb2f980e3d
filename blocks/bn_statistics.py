"""Running statistics of the norms that a task owns, estimated anew.

net, batches -> recalibrate_norms -> plain means over the batches, in place
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm


@torch.no_grad()
def recalibrate_norms(net: nn.Module, batches: Iterable[Tensor]) -> None:
    """Estimate the running statistics of the norms that a net trains anew, as plain means over batches (B, 3, H, W).

    Norms that stay in eval mode under `net.train()` (the backbone's own) keep theirs. The net's mode is put back. A last
    batch of one picture, which has no variance at 1x1 resolution, is looked at with the batch before it.
    """
    was_training = net.training
    net.train()
    norms = [part for part in net.modules() if isinstance(part, _BatchNorm) and part.training]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a cumulative mean
    try:
        for x in without_single(batches):
            net(x)
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
        net.train(was_training)


def without_single(batches: Iterable[Tensor]) -> Iterator[Tensor]:
    """The same batches (B, ...); a last one of a single picture is joined to the one before it."""
    waiting: Tensor | None = None
    for x in batches:
        if waiting is not None:
            if len(x) == 1:
                x = torch.cat([waiting, x])
            else:
                yield waiting
        waiting = x
    if waiting is not None:
        yield waiting
