"""Running statistics of the norms that a task owns: estimated anew, with or without a change of what the net computes, or
left alone by pictures that are not the task's.

net, batches -> recalibrate_norms -> plain means over the batches, in place
net, batches -> adopt_statistics  -> their means over the batches, and the net computes what it did
with statistics_kept(net): net(other pictures)             normalised by their own batch; running statistics stay
with by_running_statistics(net): net(other pictures)       normalised by these; they stay
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm, _NormBase

from blocks.precision import float64


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


@torch.no_grad()
def adopt_statistics(net: nn.Module, batches: Iterable[Tensor]) -> None:
    """Give the norms that a net trains the statistics of batches (B, 3, H, W), and leave what the net computes as it is.

    Scale γ and shift β take up the difference between old (μ, σ) and new (μ', σ') statistics:

        γ(x - μ)/σ + β = γ'(x - μ')/σ' + β'          γ' = γσ'/σ          β' = β + γ(μ' - μ)/σ

    A network that computes with another data set's statistics loses much of what it knows in its first step of training,
    which normalises by the batch: after this it does not, as a batch is normalised about as its running statistics do it.
    Norms without statistics, or whose scale and shift are not trained, keep theirs. The net's mode is put back.
    """
    was_training = net.training
    norms = [part for part in net.train().modules() if _adopts(part)]
    net.eval()
    moments: dict[nn.Module, list[Tensor]] = {}

    def look(norm: nn.Module, given: tuple[Tensor, ...]) -> None:
        x = float64(given[0].transpose(0, 1).flatten(1))
        found = [x.new_tensor(float(x.shape[1])), x.sum(1), x.square().sum(1)]
        moments[norm] = [old + new for old, new in zip(moments[norm], found, strict=True)] if norm in moments else found

    handles = [norm.register_forward_pre_hook(look) for norm in norms]
    try:
        for x in batches:
            net(x)
    finally:
        for handle in handles:
            handle.remove()
        net.train(was_training)
    for norm, (count, total, squares) in moments.items():
        _adopt(norm, total / count, (squares / count - (total / count).square()).clamp(min=0))


def _adopts(part: nn.Module) -> bool:
    own = isinstance(part, _BatchNorm) and part.training and part.track_running_stats and part.affine
    return own and all(parameter.requires_grad for parameter in part.parameters())


def _adopt(norm: Any, mean: Tensor, variance: Tensor) -> None:
    """Set a norm's statistics (C,) and what takes up the difference."""
    old, new = (float64(norm.running_var) + norm.eps).sqrt(), (variance + norm.eps).sqrt()
    norm.bias.add_((float64(norm.weight) * (mean - float64(norm.running_mean)) / old).to(norm.bias))
    norm.weight.mul_((new / old).to(norm.weight))
    norm.running_mean.copy_(mean)
    norm.running_var.copy_(variance)


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
