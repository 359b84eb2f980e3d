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

import math
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn

from blocks.least_squares import LinearEnd, positions, ridge, sample_step
from blocks.memory import size_of
from blocks.paths import Path
from blocks.proxies import Proxy, Resampled
from blocks.student import TailoredNet

NETS = 2  # whose activations are held: as it was, and as it is after the cut
SMALLEST_GATE = 1e-3  # a proxy with a smaller one would need weights too large to train on from


@torch.no_grad()
def refit(
    student: TailoredNet,
    kept: Iterable[Path],
    pictures: Iterable[Tensor],
    whole: Iterable[Path] | None = None,
    held: int | None = None,
) -> dict[int, float]:
    """Leave a student with some of its paths, and fit the proxies among them to what their layers gave before.

    Layers before the first whose paths change are left as they are. The activations of all pictures are held at once, of some
    `skips` + 1 layers twice. Where they are too large for that, which those of the first layers are, a layer is fitted on as
    many as may be held, and has the more positions of each; the later ones see more pictures.

    Args:
        student: changed in place.
        kept: what stays.
        pictures: batches (B, 3, H, W).
        whole: the paths of the network that layers are held to, of which others may stay; left out, all that are live.
        held: bytes that activations may take; left out, as many as they need.

    Returns:
        The part of a layer's variance that is still missing, by layer, for those that were fitted.
    """
    was_training, missing = student.training, {}
    left = set(kept).intersection(student.live_paths() if whole is None else student.paths)
    student.eval()
    if whole is not None:
        student.keep(whole)
    before = Layers(student, [])
    changed = left.symmetric_difference(before.live)
    if changed:
        student.keep(left)
        cut, first, batches, count = Layers(student, []), min(path.target for path in changed), iter(pictures), 0
        for layer in range(first, student.depth + 1):
            while count < _room(student, layer, held) and (x := next(batches, None)) is not None:
                count += len(x)
                alike = before.up_to(first, [student.stem(x)])
                cut.xs.append(cut.up_to(layer, list(alike)))
                before.xs.append(before.up_to(layer, alike))
            wanted = before.given(layer)
            error = _fit_layer(layer, cut, wanted)
            if error is not None:
                missing[layer] = error
            cut.advance(layer, cut.given(layer))
            before.advance(layer, wanted)
    student.train(was_training)
    return missing


def _room(student: TailoredNet, layer: int, held: int | None) -> float:
    """How many pictures' activations may be held from a layer on, at most."""
    if held is None:
        return math.inf
    shapes, reach = student.backbone.shapes, max(student.plan.skips, 1)
    windows = [shapes[max(0, later - reach) : later + 1] for later in range(layer, student.depth + 1)]
    return max(1, held // max(NETS * sum(map(size_of, window)) for window in windows))


class Layers:
    """A student's activations for the pictures of a fit, layer by layer, by the paths that are live at the start.

    Args:
        xs: x_0..x_l of every batch so far; None where nothing arrives, or where no later layer reads it.
    """

    def __init__(self, student: TailoredNet, xs: list[list[Tensor | None]]) -> None:
        self.student, self.live, self.xs = student, student.live_paths(), xs
        self.gates = student.gates().detach()

    def terms(self, layer: int, xs: list[Tensor | None] | None = None) -> list[Path]:
        """The live paths into a layer that something arrives at.

        Args:
            xs: of one batch; left out, of the first.
        """
        xs = self.xs[0] if xs is None else xs
        return [path for path in self.live if path.target == layer and xs[path.source] is not None]

    def given(self, layer: int) -> list[Tensor | None]:
        """What a layer gives before its activation, by batch; None where nothing arrives."""
        return [self._given(layer, xs) for xs in self.xs]

    def advance(self, layer: int, given: list[Tensor | None]) -> None:
        """Go on to the layer's activation, and forget what no later layer reads."""
        for xs, total in zip(self.xs, given, strict=True):
            self._advance(layer, xs, total)

    def up_to(self, layer: int, xs: list[Tensor | None]) -> list[Tensor | None]:
        """Go on with one batch that is not among `xs` yet, to what stands before a layer.

        Args:
            xs: x_0 and some that follow it; added to.
        """
        for below in range(len(xs), layer):
            self._advance(below, xs, self._given(below, xs))
        return xs

    def _given(self, layer: int, xs: list[Tensor | None]) -> Tensor | None:
        terms = self.terms(layer, xs)
        return self.student.mixture(terms, self.gates[layer - 1], xs, Resampled()) if terms else None

    def _advance(self, layer: int, xs: list[Tensor | None], total: Tensor | None) -> None:
        unread = layer - max(self.student.plan.skips, 1)
        xs.append(None if total is None else self.student.acts[layer - 1](total))
        if unread >= 0:
            xs[unread] = None


def _fit_layer(layer: int, cut: Layers, wanted: list[Tensor | None]) -> float | None:
    """Fit the proxies of one layer together; returns the part of the variance that is missing then.

    Args:
        wanted: what the layer is to give before its activation, by batch.
    """
    fitted: list[tuple[Path, LinearEnd, float]] = []
    for path in cut.terms(layer):
        proxy, gate = cut.student.module_of(path), float(cut.gates[path.place])
        end = linear_end(proxy) if gate >= SMALLEST_GATE else None
        if end is not None:
            fitted.append((path, end, gate))
    if not fitted:
        return None
    inputs, target, error = _seen(layer, cut, [(path, end) for path, end, _ in fitted], wanted)
    mean, offset = inputs.mean(0), error.mean(0)
    inputs, error = inputs - mean, error - offset
    covariance = inputs.T @ inputs / len(inputs)
    change = ridge(covariance, inputs.T @ error / len(inputs))
    adjust([(end, gate) for _, end, gate in fitted], change, mean, covariance, offset)
    left, spread = (error - inputs @ change.T).square().sum(), (target - target.mean(0)).square().sum()
    return float(left / spread) if spread > 0 else 0.0


def linear_end(module: nn.Module) -> LinearEnd | None:
    """What of a path's module can be fitted: the end of a proxy."""
    return LinearEnd.of(module.transform) if isinstance(module, Proxy) else None


def adjust(
    ends: Sequence[tuple[LinearEnd, float]], change: Tensor, mean: Tensor, covariance: Tensor, offset: Tensor
) -> None:
    """Change proxies of a layer by what their sum lacks.

    Args:
        ends: of each proxy, with its gate.
        change: of the layer's sum, by all that they read side by side (C', sum of C).
        mean, covariance: of that (sum of C,) and (sum of C, sum of C).
        offset: mean of what the sum lacks (C',).
    """
    begin = 0
    for number, (end, gate) in enumerate(ends):
        here = slice(begin, begin + end.convolution.in_channels)
        begin = here.stop
        matrix, constant = end.read()
        matrix = matrix + change[:, here] / gate
        if number == 0:  # one proxy takes the whole constant part
            constant = constant + (offset - change @ mean) / gate
        end.write(matrix, mean[here], covariance[here, here], constant + matrix @ mean[here])


def _seen(
    layer: int, cut: Layers, fitted: list[tuple[Path, LinearEnd]], wanted: list[Tensor | None]
) -> tuple[Tensor, Tensor, Tensor]:
    """At evenly taken positions of all pictures: what the proxies read, side by side, the target, and what it lacks."""
    reads: list[list[Tensor]] = [[] for _ in fitted]
    targets, errors = [], []
    count = sum(len(one) for one in wanted if one is not None)
    for xs, mine, whole in zip(cut.xs, cut.given(layer), wanted, strict=True):
        assert mine is not None
        assert whole is not None
        step = sample_step(count, *mine.shape[2:])
        targets.append(positions(whole, step))
        errors.append(positions(whole - mine, step))
        for rows, (path, end) in zip(reads, fitted, strict=True):
            rows.append(positions(end.before(cut.student.module_of(path).resample(xs[path.source])), step))  # type: ignore[operator, union-attr]
    return torch.cat([torch.cat(rows) for rows in reads], 1), torch.cat(targets), torch.cat(errors)
