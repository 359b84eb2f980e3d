"""Layer-wise decay of the learning rate: the nearer a block is to the pictures, the less it learns (BEiT, Bao et al. 2022).

head lr, block L lr * decay, block L - 1 lr * decay^2, ..., block 1 lr * decay^L, stem lr * decay^(L + 1)
"""

from __future__ import annotations

from typing import Any

from torch import nn

from blocks import Backbone, CompactNet
from blocks.shallow import ShallowNet
from nettailor.training.loop import parameter_groups

Whole = Backbone | ShallowNet | CompactNet
"""Networks that are trained as a whole."""


def layerwise_groups(net: Whole, lr: float, weight_decay: float, decay: float) -> list[dict[str, Any]]:
    """Parameter groups with learning rates that go down from the head to the stem.

    Args:
        lr: of the head.
        weight_decay: of weights; vectors have none, as in `parameter_groups`, whose groups these are where `decay` is 1.
        decay: factor from each block to the one before it.
    """
    if decay == 1:
        return parameter_groups(list(net.parameters()), lr, weight_decay)
    parts = [net.classifier if isinstance(net, ShallowNet) else net.head, *reversed(_layers(net)), net.stem]
    groups: list[dict[str, Any]] = []
    seen: set[int] = set()
    for below, part in enumerate(parts):
        parameters = [parameter for parameter in part.parameters() if id(parameter) not in seen]
        seen |= {id(parameter) for parameter in parameters}
        groups += parameter_groups(parameters, lr * decay**below, weight_decay)
    return groups


def _layers(net: Whole) -> list[nn.Module]:
    """Blocks, proxies and activation of each layer, from the stem to the head; layers without any are left out."""
    if not isinstance(net, CompactNet):
        return [nn.ModuleList(layer) for layer in zip(net.blocks, net.acts, strict=True)]
    by_layer: dict[int, list[nn.Module]] = {path.target: [net.acts[str(path.target)]] for path in net.paths}
    for path in net.paths:
        by_layer[path.target].append(net.module_of(path))
    return [nn.ModuleList(by_layer[layer]) for layer in sorted(by_layer)]
