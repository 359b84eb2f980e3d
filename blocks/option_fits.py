"""The proxies of a layer fitted for any set of its paths, from one look at pictures, and put back.

    x_p, what its other paths give -> mean and covariance of both, side by side -> a fit for every set of paths

What a layer gives is affine in what its proxies read (`least_squares`) and in what its other paths give. So these moments
hold all that `refit` would look at pictures for when a layer loses paths and those before it lose none: to try another set
costs the solution of a linear system. The smallest change that brings the layer back is the same as there.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import accumulate, pairwise

import torch
from torch import Tensor, nn

from blocks.counting import tensors_of
from blocks.least_squares import LinearEnd, positions, ridge, sample_step
from blocks.paths import Path
from blocks.refit import SMALLEST_GATE, Layers, adjust, linear_end
from blocks.student import TailoredNet


class OptionFits:
    """Fits for one layer after another, from the first up; the student computes as it is whenever none is asked for.

    Args:
        student: in eval mode, its paths as they are before any is removed.
        pictures: batches (B, 3, H, W). The activations of all of them are held, of `skips` + 1 layers at a time.
    """

    @torch.no_grad()
    def __init__(self, student: TailoredNet, pictures: Iterable[Tensor]) -> None:
        self._student = student
        self._whole = Layers(student, [[student.part(0)(x)] for x in pictures])
        self._layer: _Layer | None = None

    @contextmanager
    @torch.no_grad()
    def fitted(self, layer: int, kept: Collection[Path]) -> Iterator[None]:
        """The student with the proxies among some paths of a layer fitted; in the end they are as they were.

        Args:
            layer: not below that of an earlier call.
            kept: paths into it, to which the student has been reduced already (`TailoredNet.keep`): their gates count.
        """
        if self._layer is None or self._layer.number != layer:
            for below in range(len(self._whole.xs[0]), layer):
                self._whole.advance(below, self._whole.given(below))
            self._layer = _Layer(layer, self._whole)
            self._student.unfold(layer)
        before = self._layer.tensors()
        self._layer.fit(set(kept), self._student.gates().detach()[layer - 1])
        try:
            yield
        finally:
            for tensor, value in zip(self._layer.own, before, strict=True):
                tensor.copy_(value)


class _Layer:
    """What a layer's paths read or give on pictures: moments of first and second order, float64.

    Attributes:
        own: tensors that a fit may change: of the last convolutions and norms of proxies.
    """

    def __init__(self, number: int, whole: Layers) -> None:
        self.number, self._paths = number, whole.terms(number)
        modules = {path: whole.student.module_of(path) for path in self._paths}
        found = {path: linear_end(module) for path, module in modules.items()}
        self._ends: dict[Path, LinearEnd] = {path: end for path, end in found.items() if end is not None}
        fitted = [part for end in self._ends.values() for part in (end.convolution, end.norm)]
        self.own = [tensor for part in fitted for tensor in tensors_of(part).values()]
        adding = [path for path in self._ends if modules[path].adds_input]
        columns = self._columns(whole, adding)
        places = list(accumulate([part.shape[1] for part in columns], initial=0))
        spans = [slice(*ends) for ends in pairwise(places)]
        self._at = dict(zip(self._paths, spans, strict=False))
        self._added = dict(zip(adding, spans[len(self._paths) :], strict=True))
        rows = torch.cat(columns, 1)
        self._mean = rows.mean(0)
        rows = rows - self._mean
        self._covariance = rows.T @ rows / len(rows)
        self._channels = whole.student.backbone.shapes[number][0]
        self._given = self._sum(set(self._paths), whole.gates[number - 1])

    def _columns(self, whole: Layers, adding: Sequence[Path]) -> list[Tensor]:
        """Of each path (positions, C): what a proxy's last convolution reads, or what a path gives that can't be fitted.

        Args:
            adding: proxies that add what they read, which comes last.
        """
        found: list[list[Tensor]] = [[] for _ in (*self._paths, *adding)]
        read = [xs[self._paths[0].source] for xs in whole.xs]
        student = whole.student
        modules = {p: student.part(p.target) if p.is_universal else student.module_of(p) for p in self._paths}
        count = sum(len(x) for x in read if x is not None)
        step = sample_step(count, *whole.student.backbone.shapes[self.number][1:])
        for xs in whole.xs:
            given = [self._column(path, modules[path], xs[path.source]) for path in self._paths]
            for rows, x in zip(found, [*given, *(xs[path.source] for path in adding)], strict=True):
                rows.append(positions(x, step))  # type: ignore[arg-type]
        return [torch.cat(rows) for rows in found]

    def _column(self, path: Path, module: nn.Module, x: Tensor | None) -> Tensor:
        end = self._ends.get(path)
        given: Tensor = module(x) if end is None else end.before(module.resample(x))  # type: ignore[operator]
        return given

    def tensors(self) -> list[Tensor]:
        """A copy of `own`."""
        return [tensor.clone() for tensor in self.own]

    def fit(self, kept: set[Path], gates: Tensor) -> None:
        """Fit the proxies among some paths to what the layer gives with all.

        Args:
            gates: of the layer, with these paths alone (1 + k,).
        """
        fitted = [path for path in self._ends if path in kept and float(gates[path.slot]) >= SMALLEST_GATE]
        if not fitted:
            return
        lacks, offset = (before - after for before, after in zip(self._given, self._sum(kept, gates), strict=True))
        columns = torch.cat([torch.arange(self._at[path].start, self._at[path].stop) for path in fitted])
        columns = columns.to(self._mean.device)
        covariance = self._covariance[columns][:, columns]
        change = ridge(covariance, self._covariance[columns] @ lacks.T)
        ends = [(self._ends[path], float(gates[path.slot])) for path in fitted]
        adjust(ends, change, self._mean[columns], covariance, lacks @ self._mean + offset)

    def _sum(self, paths: set[Path], gates: Tensor) -> tuple[Tensor, Tensor]:
        """What some paths give together, weighted: matrix (C', columns) and constant (C',)."""
        matrix = self._mean.new_zeros(self._channels, len(self._mean))
        constant = self._mean.new_zeros(self._channels)
        for path in self._paths:
            if path not in paths:
                continue
            gate = float(gates[path.slot])
            if path in self._ends:
                own, given = self._ends[path].read()
                matrix[:, self._at[path]] = gate * own
                constant += gate * given
                if path in self._added:
                    matrix[:, self._added[path]] = gate * torch.eye(self._channels).to(matrix)
            else:
                matrix[:, self._at[path]] = gate * torch.eye(self._channels).to(matrix)
        return matrix, constant
