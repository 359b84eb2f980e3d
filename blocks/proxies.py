"""Proxies: small trainable paths from an activation x_p to a later layer l (DESIGN section 4; NetTailor, section 3.1).

    x_p -> resample to layer l's resolution (max-pool) -> transform to layer l's channels -> out

    conv1x1      1x1 convolution, batch norm
    bottleneck   1x1 convolution, batch norm, ReLU, 1x1 convolution, batch norm; hidden width a quarter of the output's
    identity     nothing, where the shapes agree; a conv1x1 where they don't

Resampling has no parameters and is the same for all proxies from one activation to one resolution, so a student computes
it once for all of them.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn

Shape = tuple[int, int, int]
"""Channels, height, width."""


class Proxy(nn.Module):
    """A path from activations of shape `source` to shape `target`: (B, C, H, W) to (B, C', H', W')."""

    def __init__(self, form: str, source: Shape, target: Shape) -> None:
        super().__init__()
        if form not in FORMS:
            raise ValueError(f"a proxy is one of {', '.join(FORMS)}, not {form!r}")
        self.resolution: tuple[int, int] = target[1:]
        self.resample = resampling(source, target)
        self.transform = FORMS[form](source, target)

    def forward(self, x: Tensor) -> Tensor:
        return self.transform(self.resample(x))


class Resampled:
    """The resampled activations of one forward: each activation is resampled once for each resolution."""

    def __init__(self) -> None:
        self._done: dict[tuple[int, tuple[int, int]], Tensor] = {}

    def through(self, proxy: Proxy, source: int, x: Tensor) -> Tensor:
        """What a proxy makes of activation `x`, which is x_`source`."""
        place = source, proxy.resolution
        if place not in self._done:
            self._done[place] = proxy.resample(x)
        return proxy.transform(self._done[place])


def resampling(source: Shape, target: Shape) -> nn.Module:
    """Max-pool from one resolution to another; nothing where they agree."""
    if source[1:] == target[1:]:
        return nn.Identity()
    stride = tuple(-(-have // want) for have, want in zip(source[1:], target[1:], strict=True))
    fits = all(-(-have // step) == want for have, step, want in zip(source[1:], stride, target[1:], strict=True))
    if fits:
        return nn.MaxPool2d(stride, ceil_mode=True)
    return nn.AdaptiveMaxPool2d(target[1:])


def conv1x1(source: Shape, target: Shape) -> nn.Module:
    """1x1 convolution and batch norm: C * C' + 2 C' trained parameters."""
    return nn.Sequential(nn.Conv2d(source[0], target[0], 1, bias=False), nn.BatchNorm2d(target[0]))


def bottleneck(source: Shape, target: Shape) -> nn.Module:
    """Two 1x1 convolutions through a quarter of the output's channels, each with its batch norm."""
    hidden = max(1, target[0] // 4)
    return nn.Sequential(
        nn.Conv2d(source[0], hidden, 1, bias=False),
        nn.BatchNorm2d(hidden),
        nn.ReLU(),
        nn.Conv2d(hidden, target[0], 1, bias=False),
        nn.BatchNorm2d(target[0]),
    )


def identity(source: Shape, target: Shape) -> nn.Module:
    """The activation itself where shapes agree, at no cost; elsewhere a conv1x1."""
    return nn.Identity() if source == target else conv1x1(source, target)


FORMS: dict[str, Callable[[Shape, Shape], nn.Module]] = {
    "conv1x1": conv1x1,
    "bottleneck": bottleneck,
    "identity": identity,
}
