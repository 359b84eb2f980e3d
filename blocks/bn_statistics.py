"""Running statistics of the norms that a task owns: estimated anew, or left alone by pictures that are not the task's.

net, batches -> recalibrate_norms -> plain means over the batches, in place
with statistics_kept(net): net(other pictures)             normalised by their own batch; running statistics stay
with by_running_statistics(net): net(other pictures)       normalised by these; they stay
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm, _NormBase


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


@contextmanager
def statistics_kept(net: nn.Module) -> Iterator[None]:
    """Inside, norms in training mode normalise by their batch, as always, but leave their running statistics as they are."""
    norms = [part for part in net.modules() if isinstance(part, _NormBase) and part.track_running_stats]
    for norm in norms:
        norm.track_running_stats = False
    try:
        yield
    finally:
        for norm in norms:
            norm.track_running_stats = True


@contextmanager
def by_running_statistics(net: nn.Module) -> Iterator[None]:
    """Inside, norms in training mode normalise by their running statistics, and leave them as they are."""
    norms = [part for part in net.modules() if isinstance(part, _NormBase) and part.training]
    for norm in norms:
        norm.training = False
    try:
        yield
    finally:
        for norm in norms:
            norm.training = True
