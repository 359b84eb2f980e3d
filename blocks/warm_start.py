"""Warm start: before any training, every proxy is the best linear stand-in for the block that it stands beside.

    pictures -> statistics of the task's own norms -> channels of thinned blocks -> activations x_0..x_L
             -> least squares per proxy

A 1x1 convolution with a bias that takes the resampled x_p to G_l(x_(l-1)) has a closed form (ridge regression over the
positions of some hundred pictures). With softmax gates a layer's mixture then starts near G_l however the gates stand, so
replacing a universal block by proxies changes it little. The idea of replacing a block by its best linear map is old;
its use for NetTailor's proxies is ours.

Least squares needs means and second moments alone, and those are sums over batches:

    A^T A (C, C) of every activation and resolution that proxies read        A^T B (C, C') of every proxy

so what is held at a time is the activations of one batch, and these matrices.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from blocks.bn_statistics import adopt_statistics, recalibrate_norms
from blocks.least_squares import LinearEnd, Rows, positions, ridge, sample_step
from blocks.paths import Path
from blocks.proxies import Proxy
from blocks.student import TailoredNet
from blocks.thinned import ChannelChoice

Batches = Callable[[], Iterable[Tensor]]
"""Gives the same batches of pictures (B, 3, H, W) whenever it is called."""


@torch.no_grad()
def warm_start(student: TailoredNet, batches: Batches, unchanged: bool = False) -> dict[str, float]:
    """Set every proxy that ends in a 1x1 convolution and a batch norm by least squares against the block beside it.

    The norms that the task owns get their statistics from the same pictures first.

    Args:
        student: fresh.
        batches: called for the statistics, for the channels of thinned blocks where there are any, and for the least squares.
        unchanged: whether its universal blocks go on computing what they did, with these statistics (`adopt_statistics`).

    Returns:
        The part of the block's variance that each warm-started proxy explains, by the key of its path.
    """
    was_training, before = student.training, student.gates.fade.clone()
    student.keep(path for path in student.paths if path.is_universal)
    counter = _Counter(batches)
    (adopt_statistics if unchanged else recalibrate_norms)(student, counter)
    student.gates.fade.copy_(before)
    student.train(was_training)
    ThinnedChannels(student, batches, counter.pictures).write()
    return fit_proxies(student, batches, counter.pictures, student.paths)


@torch.no_grad()
def fit_proxies(student: TailoredNet, batches: Batches, pictures: int, paths: Sequence[Path]) -> dict[str, float]:
    """Set those proxies among some paths that end in a 1x1 convolution and a batch norm by least squares.

    Args:
        batches: called once; they hold so many `pictures`.
        paths: thinned blocks among them have the channels that they are to keep (`ThinnedChannels`).

    Returns:
        The part of the block's variance that each explains, by the key of its path.
    """
    was_training = student.training
    student.eval()
    moments = _Moments(student, paths, pictures)
    for x in batches():
        moments.add(x)
    explained = {path.key: moments.solve(path) for path in moments.paths}
    student.train(was_training)
    return explained


class ThinnedChannels:
    """Which channels of a student's own blocks are needed most, from one look at pictures, for thinned blocks of any width.

    Args:
        student: whose blocks are what they are to be; its thinned blocks may take other forms afterwards.
        batches: called once, where there are thinned blocks; they hold so many `pictures`.
    """

    @torch.no_grad()
    def __init__(self, student: TailoredNet, batches: Batches, pictures: int) -> None:
        was_training = student.training
        student.eval()
        sample = _Sample(pictures)
        found: dict[int, ChannelChoice] = {}
        for path in thinned_paths(student):
            whole, block = student.backbone.site(path.source, path.target).beside, student.blocks[str(path.target)]
            assert whole is not None
            found[path.target] = ChannelChoice(whole.of_student(block), sample.rows)  # type: ignore[arg-type]
        for x in batches() if found else ():
            for layer, xs, _ in _through_blocks(student, x):
                if layer in found:
                    found[layer].add(xs[-1])
            sample.seen += len(x)
        self._student, self._found = student, found
        student.train(was_training)

    def write(self) -> None:
        """Fill the thinned blocks that the student has now with the channels that are needed most."""
        for path in thinned_paths(self._student):
            self._found[path.target].write(_proxy(self._student, path).transform)  # type: ignore[arg-type]


def thinned_paths(student: TailoredNet) -> list[Path]:
    """The paths of a student that are thinned blocks."""
    return [path for path in student.paths if not path.is_universal and _proxy(student, path).is_thinned]


def _through_blocks(student: TailoredNet, x: Tensor) -> Iterator[tuple[int, list[Tensor], Tensor]]:
    """Each layer, the activations before it, and what its block makes of the last of them."""
    xs = [student.stem(x)]
    for layer in range(1, student.depth + 1):
        given = student.blocks[str(layer)](xs[-1])
        yield layer, xs, given
        xs.append(student.acts[layer - 1](given))


def _proxy(student: TailoredNet, path: Path) -> Proxy:
    module = student.module_of(path)
    assert isinstance(module, Proxy)
    return module


@dataclass
class _Sample:
    """Evenly taken positions of all pictures, at most `LARGEST_SAMPLE`; `seen` is the number of pictures so far."""

    pictures: int
    seen: int = 0

    def rows(self, x: Tensor) -> Tensor:
        """Those of the next batch, as rows (N, C), float64."""
        height, width = x.shape[2:]
        step = sample_step(self.pictures, height, width)
        return positions(x, step, -self.seen * height * width % step)


class _Counter:
    """Counts the pictures that it hands out."""

    def __init__(self, batches: Batches) -> None:
        self._batches = batches
        self.pictures = 0

    def __iter__(self) -> Iterator[Tensor]:
        for x in self._batches():
            self.pictures += len(x)
            yield x


Place = tuple[int, tuple[int, int], int]
"""An activation's number, the resolution that it is read at, and the layer that a thinned block leads to, else 0."""


class _Moments:
    """Means and second moments of what proxies read and of what blocks give, at evenly taken positions of all pictures."""

    def __init__(self, student: TailoredNet, paths: Iterable[Path], pictures: int) -> None:
        self.student = student
        self.paths = [path for path in paths if _closed_form(student.module_of(path)) is not None]
        self._sample = _Sample(pictures)
        self._inputs: dict[Place, Rows] = {}
        self._wanted: dict[tuple[int, bool], Rows] = {}
        self._products: dict[Path, Tensor] = {}

    def add(self, x: Tensor) -> None:
        """Look at one more batch (B, 3, H, W)."""
        rows, read = self._sample.rows, {}  # proxies that read the same tensor share its moments
        for layer, xs, given in _through_blocks(self.student, x):
            into = {path: self._proxy(path) for path in self.paths if path.target == layer}
            wanted = {adds: rows(given - xs[-1] if adds else given) for adds in {p.adds_input for p in into.values()}}
            for adds, b in wanted.items():
                self._wanted.setdefault((layer, adds), Rows.none(b, square=False)).add(b)
            for path, proxy in into.items():
                place = self._place(path)
                if place not in read:
                    end = _closed_form(proxy)
                    assert end is not None
                    a = read[place] = rows(end.before(proxy.resample(xs[path.source])))
                    self._inputs.setdefault(place, Rows.none(a, square=True)).add(a)
                product = read[place].T @ wanted[proxy.adds_input]
                self._products[path] = self._products[path].add_(product) if path in self._products else product
        self._sample.seen += len(x)

    def _proxy(self, path: Path) -> Proxy:
        return _proxy(self.student, path)

    def _place(self, path: Path) -> Place:
        proxy = self._proxy(path)
        return path.source, proxy.resolution, path.target if proxy.is_thinned else 0

    def solve(self, path: Path) -> float:
        """Write the least squares into one proxy; returns the variance explained."""
        proxy = self._proxy(path)
        end = _closed_form(proxy)
        a, b = self._inputs[self._place(path)], self._wanted[path.target, proxy.adds_input]
        assert end is not None
        product = self._products.pop(path) / a.count - torch.outer(a.mean(), b.mean())
        solved = ridge(a.variance(), product)
        given, spread = end.write(solved, a.mean(), a.variance(), b.mean()), b.variance().sum()
        left = spread - 2 * (solved.T * product).sum() + given.sum()
        return float(1 - left / spread) if spread > 0 else 0.0


def _closed_form(module: nn.Module) -> LinearEnd | None:
    """The convolution and norm of a proxy that is just these two, or of a thinned block."""
    end = LinearEnd.of(module.transform) if isinstance(module, Proxy) else None
    if end is None or (end.before and not module.is_thinned):  # type: ignore[union-attr]
        return None
    return end
