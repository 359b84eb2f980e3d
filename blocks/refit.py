"""Cut paths out of a trained student, and let the proxies that stay make up for them by least squares.

    layer by layer, on the same pictures:   what the layer gave before the cut, x_p as it is after it  ->  proxies anew

What a layer gave is `T`, before its activation. After the cut it gives `S + sum over p of a_p * A_p(x_p)`, where S is the
frozen block's part, and the x_p already come from the layers that were cut and fitted before it. A proxy that ends in a 1x1
convolution and a batch norm is affine in what that convolution reads, so the smallest change of all such proxies of a layer
together that brings it back to T is a ridge regression of `T - (S + ...)`. Later layers so undo part of what earlier ones
could not. That a pruned layer is fitted to what it gave before is known from the pruning of channels (He et al. 2017,
section 3.1); its use for NetTailor's proxies is ours.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from blocks.paths import Path
from blocks.precision import float64
from blocks.proxies import Proxy
from blocks.student import TailoredNet
from blocks.warm_start import LARGEST_SAMPLE, RIDGE, TINY

SMALLEST_GATE = 1e-3  # a proxy with a smaller one would need weights too large to train on from


@torch.no_grad()
def refit(student: TailoredNet, kept: Iterable[Path], pictures: Iterable[Tensor]) -> dict[int, float]:
    """Leave a student with some of its paths, and fit the proxies among them to what their layers gave with all.

    Layers before the first that loses a path are left as they are.

    Args:
        student: trained; changed in place.
        kept: what stays.
        pictures: batches (B, 3, H, W). The activations of all of them are held at once, of some `skips` + 1 layers twice.

    Returns:
        The part of a layer's variance that is still missing, by layer, for those that were fitted.
    """
    was_training = student.training
    student.eval()
    stems = [student.stem(x) for x in pictures]
    count = sum(map(len, stems))
    whole = _Layers(student, stems)
    left = set(kept)
    first = min((path.target for path in whole.live if path not in left), default=student.depth + 1)
    student.keep(path for path in whole.live if path in left)
    cut, missing = _Layers(student, stems), {}
    for layer in range(1, student.depth + 1):
        wanted = whole.given(layer)
        error = _fit_layer(student, layer, cut, wanted, count) if layer >= first else None
        if error is not None:
            missing[layer] = error
        cut.advance(layer, cut.given(layer))
        whole.advance(layer, wanted)
    student.train(was_training)
    return missing


class _Layers:
    """A student's activations for all pictures, layer by layer, as its live paths at the start give them."""

    def __init__(self, student: TailoredNet, stems: list[Tensor]) -> None:
        self.student, self.live = student, student.live_paths()
        self.gates = student.gates().detach().clone()
        self._xs: list[dict[int, Tensor | None]] = [{0: x} for x in stems]

    def terms(self, layer: int) -> list[Path]:
        """The live paths into a layer that something arrives at."""
        into = [path for path in self.live if path.target == layer]
        return [path for path in into if self._xs[0][path.source] is not None]

    def of(self, source: int) -> list[Tensor]:
        """x_source of every batch, where something arrives there."""
        return [xs[source] for xs in self._xs]  # type: ignore[misc]

    def given(self, layer: int) -> list[Tensor | None]:
        """What a layer gives before its activation, by batch; None where nothing arrives."""
        terms = self.terms(layer)
        if not terms:
            return [None] * len(self._xs)
        return [self._mixture(terms, xs) for xs in self._xs]

    def advance(self, layer: int, given: list[Tensor | None]) -> None:
        """Go on to the layer's activation, and forget what no later layer reads."""
        act, skips = self.student.acts[layer - 1], self.student.plan.skips
        for xs, total in zip(self._xs, given, strict=True):
            xs[layer] = None if total is None else act(total.clone())  # an activation in place would change the target
            xs.pop(layer - max(skips, 1), None)

    def _mixture(self, terms: list[Path], xs: dict[int, Tensor | None]) -> Tensor:
        total: Tensor | None = None
        for path in terms:
            out = self.gates[path.place] * self.student.module_of(path)(xs[path.source])
            total = out if total is None else total + out
        assert total is not None
        return total


@dataclass
class _Linear:
    """The 1x1 convolution and batch norm that a proxy ends in, and what comes before them."""

    path: Path
    before: nn.Module
    convolution: nn.Conv2d
    norm: nn.BatchNorm2d
    gate: float

    @classmethod
    def of(cls, student: TailoredNet, path: Path, gate: float) -> _Linear | None:
        """None where a path does not end so, or hardly counts."""
        proxy = student.module_of(path)
        if not isinstance(proxy, Proxy) or not isinstance(proxy.transform, nn.Sequential) or gate < SMALLEST_GATE:
            return None
        *first, convolution, norm = (None, None, *proxy.transform)
        if not isinstance(convolution, nn.Conv2d) or not isinstance(norm, nn.BatchNorm2d):
            return None
        is_point = convolution.kernel_size == convolution.stride == (1, 1) and convolution.padding == (0, 0)
        if not is_point or convolution.groups != 1 or convolution.bias is not None:
            return None
        if not norm.affine or not norm.track_running_stats:
            return None
        before = nn.Sequential(proxy.resample, *(step for step in first if step is not None))
        return cls(path, before, convolution, norm, gate)

    def write(self, change: Tensor, offset: Tensor | None, mean: Tensor, covariance: Tensor) -> None:
        """Add a change (C', C) to what the proxy computes, and an offset (C',) to its constant part.

        The convolution keeps the norm of its rows, for which the optimiser's steps have the right size; their scale goes into
        the batch norm, whose statistics become those of the same positions.

        Args:
            mean, covariance: of what the convolution reads, (C,) and (C, C).
        """
        convolution, norm = self.convolution, self.norm
        weight = float64(convolution.weight.flatten(1))
        slope = float64(norm.weight) / (float64(norm.running_var) + norm.eps).sqrt()  # type: ignore[arg-type]
        constant = float64(norm.bias) - slope * float64(norm.running_mean)  # type: ignore[arg-type]
        matrix = slope.unsqueeze(1) * weight + change
        scale = matrix.norm(dim=1).clamp(min=TINY) / weight.norm(dim=1).clamp(min=TINY)
        rows = matrix / scale.unsqueeze(1)
        variance = ((rows @ covariance) * rows).sum(1).clamp(min=0)
        centre = rows @ mean
        convolution.weight.copy_(rows.view_as(convolution.weight))
        norm.running_mean.copy_(centre)  # type: ignore[union-attr]
        norm.running_var.copy_(variance)  # type: ignore[union-attr]
        norm.weight.copy_(scale * (variance + norm.eps).sqrt())
        norm.bias.copy_(constant + scale * centre + (0 if offset is None else offset))


def _fit_layer(student: TailoredNet, layer: int, cut: _Layers, wanted: list[Tensor | None], count: int) -> float | None:
    """Fit the proxies of one layer together; returns the part of the variance that is missing then."""
    found = (_Linear.of(student, path, float(cut.gates[path.place])) for path in cut.terms(layer))
    linear = [each for each in found if each is not None]
    if not linear:
        return None
    inputs, target, error = _seen(layer, cut, linear, wanted, count)
    mean, offset = inputs.mean(0), error.mean(0)
    inputs, error = inputs - mean, error - offset
    covariance = inputs.T @ inputs / len(inputs)
    ridge = RIDGE * covariance.diagonal().mean() + TINY
    identity = torch.eye(len(covariance), dtype=covariance.dtype, device=covariance.device)
    change = torch.linalg.solve(covariance + ridge * identity, inputs.T @ error / len(inputs)).T
    constant: Tensor | None = (offset - change @ mean) / linear[0].gate  # the first one's share is all of it
    begin = 0
    for each in linear:
        here = slice(begin, begin + each.convolution.in_channels)
        each.write(change[:, here] / each.gate, constant, mean[here], covariance[here, here])
        begin, constant = here.stop, None
    left, spread = (error - inputs @ change.T).square().sum(), (target - target.mean(0)).square().sum()
    return float(left / spread) if spread > 0 else 0.0


def _seen(
    layer: int, cut: _Layers, linear: list[_Linear], wanted: list[Tensor | None], count: int
) -> tuple[Tensor, Tensor, Tensor]:
    """At evenly taken positions of `count` pictures: what the proxies read, side by side, the target, and what it lacks."""
    reads: list[list[Tensor]] = [[] for _ in linear]
    targets, errors = [], []
    for place, (mine, whole) in enumerate(zip(cut.given(layer), wanted, strict=True)):
        assert mine is not None
        assert whole is not None
        step = -(-count * mine.shape[2] * mine.shape[3] // LARGEST_SAMPLE)
        targets.append(_rows(whole, step))
        errors.append(_rows(whole - mine, step))
        for rows, each in zip(reads, linear, strict=True):
            rows.append(_rows(each.before(cut.of(each.path.source)[place]), step))
    return torch.cat([torch.cat(rows) for rows in reads], 1), torch.cat(targets), torch.cat(errors)


def _rows(x: Tensor, step: int) -> Tensor:
    """Every `step`-th position of (B, C, H, W) as rows (N, C), float64."""
    return float64(x.permute(0, 2, 3, 1).reshape(-1, x.shape[1])[::step])
