"""What a network is put together from: stem, the paths into every layer with their weights, head.

    Backbone, TailoredNet, CompactNet, ShallowNet -> wiring() -> Wiring -> fold (blocks.fold)

A teacher, a student and a compact net that say the same here are folded to the same graph, so their times can be compared.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from torch import fx, nn

from blocks.proxies import Proxy


@dataclass(frozen=True)
class Term:
    """One path into a layer: `weight * module(x_source)`."""

    source: int
    module: fx.GraphModule | Proxy
    weight: float = 1.0


@dataclass(frozen=True)
class Layer:
    """x_l = act(sum of the terms)."""

    terms: tuple[Term, ...]
    act: nn.Module


@dataclass(frozen=True)
class Wiring:
    """x_0 = stem(pictures), then the layers by number in ascending order; the head reads the last layer's activation.

    The modules are the network's own objects, not copies.

    Attributes:
        head_reads: the activations that the head is given, where it is not the last one alone.
    """

    stem: fx.GraphModule
    layers: dict[int, Layer]
    head: fx.GraphModule
    head_reads: tuple[int, ...] = ()


class Wired(Protocol):
    """A network that lists its parts."""

    def wiring(self) -> Wiring:
        """Its parts, with the weights that they have in eval mode."""
        ...


class Network(Wired, Protocol):
    """A network that answers for itself what it runs as."""

    def for_inference(self) -> fx.GraphModule:
        """A folded copy in eval mode that shares nothing with it: pictures (B, 3, H, W) to logits (B, classes)."""
        ...


def chain(stem: fx.GraphModule, blocks: Iterable[nn.Module], acts: Iterable[nn.Module], head: fx.GraphModule) -> Wiring:
    """Blocks one behind the other, each of weight 1."""
    layers = {
        number: Layer((Term(number - 1, block),), act)  # type: ignore[arg-type]
        for number, (block, act) in enumerate(zip(blocks, acts, strict=True), 1)
    }
    return Wiring(stem, layers, head)
