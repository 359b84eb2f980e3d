"""Proxies: small trainable paths from an activation x_p to a later layer l (NetTailor, section 3.1; docs/how_it_works.md).

    x_p -> resample to layer l's resolution (max-pool) -> transform to layer l's channels -> out

    conv1x1      1x1 convolution, batch norm
    bottleneck   1x1 convolution, batch norm, ReLU, 1x1 convolution, batch norm; hidden width a quarter of the block's own
    identity     nothing, where the shapes agree; a conv1x1 where they don't
    thinned      the block itself with a quarter of the channels inside it (`blocks.thinned`), from what the block reads;
                 "auto" from elsewhere, and beside a block that is no plain chain; so are thinned_half and
                 thinned_three_quarters, of so many channels
    pointwise    conv1x1, or a bottleneck where conv1x1 would cost more than a tenth of the block: chosen path by path
    auto         the same, but thinned in the place of a bottleneck, and beside a block that is wider inside than its output
    by_block     the paper's choice: a bottleneck beside a block that has one itself, else conv1x1

A user adds a form in a few lines. It is given the place that the proxy stands at, and returns the module that turns what
was resampled (B, C, H', W') into (B, C', H', W'):

    @register("depthwise")
    def depthwise(site: Site) -> nn.Module:
        near = nn.Conv2d(site.source[0], site.source[0], 3, padding=1, groups=site.source[0], bias=False)
        return nn.Sequential(near, conv1x1(site))

Resampling has no parameters and is the same for all proxies from one activation to one resolution, so a student computes
it once for all of them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from torch import Tensor, nn

from blocks.chosen_channels import ChosenChannels
from blocks.paths import UNIVERSAL
from blocks.thinned import PARTS, Thinnable

Shape = tuple[int, int, int]
"""Channels, height, width."""

AUTO, BY_BLOCK, POINTWISE = "auto", "by_block", "pointwise"
THINNED = "thinned"
CHOSEN = (AUTO, BY_BLOCK, POINTWISE)
"""Words for a form that is chosen path by path (`form_for`)."""
AFFORDABLE = 0.1
"""The part of its block's MACs that a conv1x1 may cost before another form is taken instead."""


@dataclass(frozen=True)
class Site:
    """Where a proxy stands: from shape `source` to shape `target`, beside a block whose own bottleneck is `width`.

    Attributes:
        beside: the block, where the proxy reads what the block reads and the block can be thinned.
        rank: of what the task adds to the backbone's dense convolutions; 0 for nothing.
    """

    source: Shape
    target: Shape
    width: int
    beside: Thinnable | None = None
    rank: int = 0


class Proxy(nn.Module):
    """A path from activations of shape `site.source` to shape `site.target`: (B, C, H, W) to (B, C', H', W').

    Attributes:
        is_thinned: whether it is its block thinned, which reads what the block reads, at its resolution.
        adds_input: whether what it reads is added to what its transform gives.
    """

    def __init__(self, form: str, site: Site) -> None:
        super().__init__()
        if form not in FORMS:
            raise ValueError(f"a proxy is one of {', '.join(FORMS)}, not {form!r}")
        whole = site.beside if form in PARTS else None
        self.is_thinned = whole is not None
        self.adds_input = whole is not None and whole.adds_input
        self.resolution: tuple[int, int] = site.target[1:] if whole is None else site.source[1:]
        self.resample = resampling(site.source, site.target) if whole is None else nn.Identity()
        self.transform = FORMS[form](site)

    def forward(self, x: Tensor) -> Tensor:
        return self.of_resampled(self.resample(x))

    def of_resampled(self, x: Tensor) -> Tensor:
        """What it gives for an activation that is resampled already."""
        out: Tensor = self.transform(x)
        return out + x if self.adds_input else out

    def hidden_shapes(self) -> list[Shape]:
        """Of a thinned block, what the convolutions inside it give, at the resolution that it reads or below."""
        if not self.is_thinned:
            return []
        layers = list(self.transform)[:-2]  # type: ignore[call-overload]
        inside = [layer for layer in layers if isinstance(layer, (nn.Conv2d, ChosenChannels))]
        return [(layer.out_channels, *self.resolution) for layer in inside]


class Resampled:
    """The resampled activations of one forward: each activation is resampled once for each resolution."""

    def __init__(self) -> None:
        self._done: dict[tuple[int, tuple[int, int]], Tensor] = {}

    def through(self, proxy: Proxy, source: int, x: Tensor) -> Tensor:
        """What a proxy makes of activation `x`, which is x_`source`."""
        place = source, proxy.resolution
        if place not in self._done:
            self._done[place] = proxy.resample(x)
        return proxy.of_resampled(self._done[place])


def resampling(source: Shape, target: Shape) -> nn.Module:
    """Max-pool from one resolution to another; nothing where they agree."""
    if source[1:] == target[1:]:
        return nn.Identity()
    stride = tuple(-(-have // want) for have, want in zip(source[1:], target[1:], strict=True))
    fits = all(-(-have // step) == want for have, step, want in zip(source[1:], stride, target[1:], strict=True))
    if fits:
        return nn.MaxPool2d(stride, ceil_mode=True)
    return nn.AdaptiveMaxPool2d(target[1:])


FORMS: dict[str, Callable[[Site], nn.Module]] = {}


def register(name: str) -> Callable[[Callable[[Site], nn.Module]], Callable[[Site], nn.Module]]:
    """Make a form of proxy known under `name`; a decorator.

    Raises:
        ValueError: the name is taken, by a form or by a word that has a meaning of its own.
    """
    if name in FORMS or name in (*CHOSEN, UNIVERSAL):
        raise ValueError(f"there is a proxy {name!r} already; take another name")

    def add(form: Callable[[Site], nn.Module]) -> Callable[[Site], nn.Module]:
        FORMS[name] = form
        return form

    return add


@register("conv1x1")
def conv1x1(site: Site) -> nn.Module:
    """1x1 convolution and batch norm: C * C' + 2 C' trained parameters."""
    channels = site.target[0]
    return nn.Sequential(nn.Conv2d(site.source[0], channels, 1, bias=False), nn.BatchNorm2d(channels))


@register("bottleneck")
def bottleneck(site: Site) -> nn.Module:
    """Two 1x1 convolutions through a quarter of the width of the block's own bottleneck, each with its batch norm."""
    channels, hidden = site.target[0], hidden_width(site)
    return nn.Sequential(
        nn.Conv2d(site.source[0], hidden, 1, bias=False),
        nn.BatchNorm2d(hidden),
        nn.ReLU(),
        nn.Conv2d(hidden, channels, 1, bias=False),
        nn.BatchNorm2d(channels),
    )


@register("identity")
def identity(site: Site) -> nn.Module:
    """The activation itself where shapes agree, at no cost; elsewhere a conv1x1."""
    return nn.Identity() if site.source == site.target else conv1x1(site)


def thinned(site: Site, part: float) -> nn.Module:
    """The block itself with a part of the channels inside it; elsewhere a conv1x1."""
    return conv1x1(site) if site.beside is None else site.beside.thinned(part, site.target[0], site.rank)


for name, part in PARTS.items():
    register(name)(partial(thinned, part=part))


def hidden_width(site: Site) -> int:
    """Hidden channels of a bottleneck."""
    return max(1, site.width // 4)


def form_for(wanted: str, site: Site, block_macs: int) -> str:
    """The form of one proxy: `wanted`, or what a word of `CHOSEN` chooses beside a block of `block_macs`."""
    if wanted == BY_BLOCK:
        return "bottleneck" if site.width < site.target[0] else "conv1x1"
    if wanted in PARTS and site.beside is not None:
        return wanted
    if wanted not in (AUTO, POINTWISE, *PARTS):
        return wanted
    pixels = site.target[1] * site.target[2]
    direct = site.source[0] * site.target[0] * pixels
    through = hidden_width(site) * (site.source[0] + site.target[0]) * pixels
    is_dear = direct > AFFORDABLE * block_macs
    if wanted == AUTO and site.beside is not None and (is_dear or site.beside.expands):
        return THINNED
    if not is_dear:
        return "conv1x1"
    return "bottleneck" if through < direct else "conv1x1"
