"""Warm start: before any training, every proxy is the best linear stand-in for the block that it stands beside.

    pictures -> statistics of the task's own norms -> activations x_0..x_L -> least squares per proxy

A 1x1 convolution with a bias that takes the resampled x_p to G_l(x_(l-1)) has a closed form (ridge regression over all
positions of some hundred pictures). With softmax gates a layer's mixture then starts near G_l however the gates stand, so
replacing a universal block by proxies changes it little. The idea of replacing a block by its best linear map is old;
its use for NetTailor's proxies is ours.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from blocks.bn_statistics import recalibrate_norms
from blocks.proxies import Proxy
from blocks.student import TailoredNet

BATCH = 64
TINY = 1e-12
RIDGE = 1e-3  # of the mean variance of the inputs
LARGEST_SAMPLE = 16384  # positions; more do not move the solution


@torch.no_grad()
def warm_start(student: TailoredNet, x: Tensor) -> dict[str, float]:
    """Set every proxy that ends in a 1x1 convolution and a batch norm by least squares against the block beside it.

    The norms that the task owns get their statistics from the same pictures first.

    Args:
        student: fresh.
        x: pictures (B, 3, H, W).

    Returns:
        The part of the block's variance that each warm-started proxy explains, by the key of its path.
    """
    was_training, before = student.training, student.gates.fade.clone()
    student.keep(path for path in student.paths if path.is_universal)
    recalibrate_norms(student, x.split(BATCH))
    student.gates.fade.copy_(before)
    student.eval()
    xs = [student.stem(x)]
    explained = {}
    for layer in range(1, student.depth + 1):
        into = [path for path in student.paths if path.target == layer]
        (block,) = [path for path in into if path.is_universal]
        wanted = student.module_of(block)(xs[-1])
        for path in into:
            proxy = student.module_of(path)
            if isinstance(proxy, Proxy) and (layers := _closed_form(proxy)) is not None:
                explained[path.key] = _regress(*layers, proxy.resample(xs[path.source]), wanted)
        xs.append(student.acts[layer - 1](wanted))
    student.train(was_training)
    return explained


def _closed_form(proxy: Proxy) -> tuple[nn.Conv2d, nn.BatchNorm2d] | None:
    """The convolution and norm of a proxy that is just these two."""
    steps = list(proxy.transform) if isinstance(proxy.transform, nn.Sequential) else []
    if len(steps) == 2 and isinstance(steps[0], nn.Conv2d) and isinstance(steps[1], nn.BatchNorm2d):
        return (steps[0], steps[1]) if steps[0].kernel_size == (1, 1) and steps[0].groups == 1 else None
    return None


def _regress(convolution: nn.Conv2d, norm: nn.BatchNorm2d, inputs: Tensor, wanted: Tensor) -> float:
    """Ridge regression of `wanted` (B, C', H, W) on `inputs` (B, C, H, W); returns the variance explained.

    The norm undoes any scale of the convolution, and the optimiser's steps have one size for all weights; so the solution is
    written with the norms of a fresh convolution, and its scale into the batch norm.
    """
    a, b = _rows(inputs), _rows(wanted)
    a_mean, b_mean = a.mean(0), b.mean(0)
    a, b = a - a_mean, b - b_mean
    gram = a.T @ a / len(a)
    ridge = RIDGE * gram.diagonal().mean() + TINY
    solved = torch.linalg.solve(gram + ridge * torch.eye(len(gram), dtype=a.dtype, device=a.device), a.T @ b / len(a)).T
    out = a @ solved.T
    fresh = convolution.weight.flatten(1).norm(dim=1).double()
    scale = solved.norm(dim=1).clamp(min=TINY) / fresh
    variance = out.var(0, unbiased=False) / scale**2
    convolution.weight.copy_((solved / scale.unsqueeze(1)).view_as(convolution.weight))
    norm.running_mean.copy_(solved @ a_mean / scale)  # type: ignore[union-attr]
    norm.running_var.copy_(variance)  # type: ignore[union-attr]
    norm.weight.copy_(scale * (variance + norm.eps).sqrt())
    norm.bias.copy_(b_mean)
    spread = b.var(0, unbiased=False).sum()
    return float(1 - (b - out).pow(2).mean(0).sum() / spread) if spread > 0 else 0.0


def _rows(x: Tensor) -> Tensor:
    """Positions as rows (N, C), float64, at most `LARGEST_SAMPLE` of them, evenly taken."""
    rows = x.permute(0, 2, 3, 1).reshape(-1, x.shape[1])
    step = -(-len(rows) // LARGEST_SAMPLE)
    return rows[::step].double()
