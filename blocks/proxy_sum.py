"""The weighted sum of a layer's 1x1 proxies as one convolution, while training.

    sum over p of a_p * BN(W_p x_p)        is linear in the x_p once the statistics of each BN are known:

    mean of W_p x_p = W_p mean(x_p)        variance of W_p x_p = diag(W_p cov(x_p) W_p^T)

so neither the single proxies' outputs nor their normalised copies are ever written: one convolution over all x_p, channel
beside channel, with the scales of gates and norms in its weights. An activation's mean and covariance are computed once for
all proxies that read it. Values and gradients are those of the proxies one by one, up to rounding.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d

from blocks.proxies import Proxy


class Moments:
    """Mean and covariance over pictures and positions of the resampled activations of one forward, each computed once."""

    def __init__(self) -> None:
        self._done: dict[int, tuple[Tensor, Tensor]] = {}

    def of(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mean (C,) and covariance (C, C) of (B, C, H, W), float32."""
        if id(x) not in self._done:
            rows = x.permute(0, 2, 3, 1).reshape(-1, x.shape[1]).float()
            mean = rows.mean(0)
            self._done[id(x)] = mean, rows.T @ rows / len(rows) - torch.outer(mean, mean)
        return self._done[id(x)]


def linear_parts(proxy: nn.Module) -> tuple[nn.Conv2d, nn.BatchNorm2d] | None:
    """The 1x1 convolution and the norm of a proxy that is just these two; None for every other."""
    steps = list(proxy.transform) if isinstance(proxy, Proxy) and isinstance(proxy.transform, nn.Sequential) else []
    if len(steps) != 2 or not isinstance(steps[0], nn.Conv2d) or not isinstance(steps[1], nn.BatchNorm2d):
        return None
    convolution: nn.Conv2d = steps[0]
    norm: nn.BatchNorm2d = steps[1]
    plain = convolution.kernel_size == (1, 1) and convolution.groups == 1 and convolution.bias is None
    return (convolution, norm) if plain and convolution.stride == (1, 1) and norm.affine else None


@dataclass(frozen=True)
class LinearTerm:
    """One proxy of a sum: `gate * norm(convolution(x))`, where x (B, C, H, W) is resampled already."""

    convolution: nn.Conv2d
    norm: nn.BatchNorm2d
    x: Tensor
    gate: Tensor


def proxy_sum(terms: Sequence[LinearTerm], moments: Moments) -> Tensor:
    """The sum of proxies in training mode (B, C', H, W), all of one resolution; running statistics follow as they would."""
    inputs = [term.x for term in terms]
    weights, bias = [], torch.zeros((), device=inputs[0].device)
    with torch.autocast(inputs[0].device.type, enabled=False):  # variances of bfloat16 would be far off
        for term in terms:
            norm, x, gate = term.norm, term.x, term.gate
            weight = term.convolution.weight.flatten(1)
            mean, covariance = moments.of(x)
            given = weight @ mean
            variance = ((weight @ covariance) * weight).sum(1).clamp(min=0)
            scale = gate * norm.weight * torch.rsqrt(variance + norm.eps)
            weights.append(scale.unsqueeze(1) * weight)
            bias = bias + gate * norm.bias - scale * given
            _follow(norm, given.detach(), variance.detach(), len(x) * x.shape[2] * x.shape[3])
    joined = inputs[0] if len(inputs) == 1 else torch.cat(inputs, 1)
    return conv2d(joined, torch.cat(weights, 1)[:, :, None, None], bias)


@torch.no_grad()
def _follow(norm: nn.BatchNorm2d, mean: Tensor, variance: Tensor, count: int) -> None:
    """Let running statistics follow a batch, as a batch norm in training mode does."""
    if norm.running_mean is None or norm.running_var is None or norm.num_batches_tracked is None:
        return
    norm.num_batches_tracked.add_(1)
    part = norm.momentum if norm.momentum is not None else 1 / float(norm.num_batches_tracked)
    norm.running_mean.lerp_(mean.to(norm.running_mean), part)
    norm.running_var.lerp_((variance * (count / max(1, count - 1))).to(norm.running_var), part)
