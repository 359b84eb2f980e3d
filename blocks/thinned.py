"""Thinned blocks: a proxy that is its block with a part of the channels inside it (docs/how_it_works.md).

    block      x -> layers -> h  -> last convolution, batch norm -> (+ x) -> out
    thinned    x -> layers -> h' -> 1x1 convolution, batch norm  -> (+ x) -> out          h' is a part of h

Which channels stay is chosen on pictures: the least squares of what the block's last norm gives on the channels of h, from
which the weakest are left out in a few steps. That a layer's channels are chosen so, and what reads them is fitted anew, is
known from the pruning of channels (He et al. 2017, section 3.1); a block so thinned as one of NetTailor's proxies is ours.
Of the dense convolutions inside it, the task owns the numbers of the channels that stay, and what it adds of a low rank, as
in a block (`blocks.adapters`): the weights are the backbone's, and frozen. What is left, depthwise convolutions, norms and
the last convolution, is the task's, begins as the block's and trains.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TypeGuard

import torch
from torch import Tensor, fx, nn

from blocks.adapters import Adapted
from blocks.chosen_channels import ChosenChannels
from blocks.counting import tensors_of
from blocks.fuse import ADDITIONS, called
from blocks.layer_types import is_activation, is_plain_batch_norm, is_plain_convolution
from blocks.least_squares import Rows, ridge
from blocks.narrow import narrow

PARTS = {"thinned": 0.25, "thinned_half": 0.5, "thinned_three_quarters": 0.75}
"""Of the channels inside a block that its thinned form of this name has."""
STAY = 0.7
"""Of the channels, at least, each time the weakest are left out."""
PASSED = (nn.Identity, nn.Dropout, nn.Dropout2d)


@dataclass(frozen=True, eq=False)
class Thinnable:
    """A block that is a chain of plain convolutions, batch norms and activations, its input added to what they give or not.

    Attributes:
        block: a backbone's, or a student's own.
        layers: names of its layers before the last convolution, in order.
        last, norm: names of that convolution, and of the batch norm behind it.
        adds_input: whether its input is added.
        expands: whether what its last convolution reads has more channels than what the block gives.
    """

    block: fx.GraphModule
    layers: tuple[str, ...]
    last: str
    norm: str
    adds_input: bool
    expands: bool

    @classmethod
    def of(cls, block: fx.GraphModule) -> Thinnable | None:
        """None for a block of another kind."""
        (given,) = [node for node in block.graph.nodes if node.op == "placeholder"]
        (end,) = next(node for node in block.graph.nodes if node.op == "output").args
        summands = end.args if end.target in ADDITIONS and not end.kwargs else (end,)
        others = [node for node in summands if node is not given]
        if len(others) != 1:
            return None
        chain = _chain(block, others[0], given)
        layers = [_kind(block.get_submodule(name)) for name in chain]
        ends = [place for place, layer in enumerate(layers) if isinstance(layer, nn.Conv2d)]
        if len(ends) < 2 or ends[0] != 0 or len(chain) != ends[-1] + 2:
            return None
        first, last, norm = (layers[place] for place in (0, ends[-1], -1))
        if not _is_dense(first) or not _is_dense(last) or not _is_norm_alone(norm):
            return None
        expands = last.in_channels > last.out_channels
        return cls(block, tuple(chain[: ends[-1]]), chain[ends[-1]], chain[-1], len(summands) > 1, expands)

    def of_student(self, block: fx.GraphModule) -> Thinnable:
        """The same of a student's block, in which some layers are the task's own."""
        return replace(self, block=block)

    def layer(self, name: str) -> nn.Module:
        """A layer of the block, what a task added to its kernel included."""
        module = self.block.get_submodule(name)
        return module.merged() if isinstance(module, Adapted) else module

    def inner(self) -> list[str]:
        """Names of the dense convolutions before the last one: what is thinned is what they give."""
        return [name for name in self.layers if _is_dense(_kind(self.block.get_submodule(name)))]

    def thinned(self, part: float, channels: int, rank: int = 0) -> nn.Sequential:
        """The thinned block, its input not added yet; until `ChannelChoice` has chosen, the first channels are kept.

        Args:
            part: of the channels inside the block that stay.
            channels: of the block's output.
            rank: of what is added to the dense convolutions inside it; 0 for nothing.
        """
        hidden = nn.Sequential()
        kept: int | None = None  # channels of what was before
        for number, name in enumerate(self.layers):
            layer = _kind(self.block.get_submodule(name))
            if _is_dense(layer):
                inputs = layer.in_channels if kept is None else kept
                kept = max(1, round(part * layer.out_channels))
                hidden.append(ChosenChannels(layer, kept, inputs, rank))
                continue
            hidden.append(copy.deepcopy(layer).requires_grad_(True))
            if kept is not None and isinstance(layer, nn.Conv2d):
                narrow(hidden, {str(number): (kept, kept)})
            elif kept is not None and is_plain_batch_norm(layer):
                narrow(hidden, {str(number): (kept,)})
        assert kept is not None
        self.fill(hidden, [each.outputs.long() for each in hidden if isinstance(each, ChosenChannels)])
        place = next(hidden.parameters()).device  # the block's, where modules are made on another by default, too
        end = nn.Conv2d(kept, channels, 1, bias=False, device=place), nn.BatchNorm2d(channels, device=place)
        return nn.Sequential(*hidden, *end)

    @torch.no_grad()
    def fill(self, hidden: nn.Sequential, chosen: Sequence[Tensor]) -> None:
        """Choose the channels of narrower layers, and give those that are the task's own the block's values.

        Args:
            chosen: of each dense convolution among them, the numbers of the outputs that stay.
        """
        left = iter(chosen)
        outputs: Tensor | None = None  # those of the last dense convolution
        for layer, name in zip(hidden, self.layers, strict=True):
            if isinstance(layer, ChosenChannels):
                inputs, outputs = outputs, next(left)
                layer.choose(outputs, inputs, self.block.get_submodule(name))
                continue
            wide = tensors_of(self.layer(name))
            for key, tensor in tensors_of(layer).items():
                tensor.copy_(wide[key] if outputs is None else wide[key][outputs])


class ChannelChoice:
    """Which channels of a block its thinned form keeps: pictures are added batch by batch, then `write` chooses.

    Args:
        block: a student's own, in eval mode: its function is wanted.
        rows: takes (B, C, H, W) to the positions that count, as rows (N, C), float64.
    """

    def __init__(self, block: Thinnable, rows: Callable[[Tensor], Tensor]) -> None:
        self._block, self._rows = block, rows
        self._between = block.inner()[1:]
        self._moments: tuple[Rows, Rows, Tensor] | None = None  # of what is read, of what is given, their products
        self._squares: dict[str, Tensor] = {}

    def add(self, x: Tensor) -> None:
        """Look at what reaches the block in one more batch (B, C, H, W)."""
        block, out = self._block, x
        for name in (*block.layers, block.last, block.norm):
            if name == block.last:
                read = self._rows(out)
            elif name in self._between:
                squares = out.square().sum((0, 2, 3))
                self._squares[name] = self._squares[name] + squares if name in self._squares else squares
            out = block.block.get_submodule(name)(out)
        given = self._rows(out)
        if self._moments is None:
            none = read.new_zeros(read.shape[1], given.shape[1])
            self._moments = Rows.none(read, square=True), Rows.none(given, square=False), none
        a, b, products = self._moments
        a.add(read)
        b.add(given)
        products += read.T @ given

    def write(self, thin: nn.Sequential) -> None:
        """Give a thinned block the values of the channels that are chosen.

        Of a convolution before the last inner one, those stay from which most reaches what stays behind it.
        """
        block, hidden = self._block, thin[:-2]
        widths = [layer.out_channels for layer in hidden if isinstance(layer, ChosenChannels)]
        chosen = [self._strongest(widths[-1])]
        for name, width in zip(self._between[::-1], widths[-2::-1], strict=True):
            kernel: Tensor = block.layer(name).weight[chosen[0]]  # type: ignore[index, assignment]
            reached = kernel.square().sum((0, 2, 3)) * self._squares[name]
            chosen.insert(0, reached.topk(width).indices.sort().values)
        block.fill(hidden, chosen)

    def _strongest(self, count: int) -> Tensor:
        """The numbers of so many channels, with which least squares is left."""
        assert self._moments is not None
        a, b, products = self._moments
        gram, product = a.variance(), products / a.count - torch.outer(a.mean(), b.mean())
        kept = torch.arange(len(gram), device=gram.device)
        while len(kept) > count:
            part = gram[kept][:, kept]
            strength = ridge(part, product[kept]).square().sum(0) * part.diagonal()
            kept = kept[strength.topk(max(count, int(STAY * len(kept)))).indices.sort().values]
        return kept


def _chain(block: fx.GraphModule, node: object, given: fx.Node) -> list[str]:
    """Names of the layers between a block's input and a node; empty where anything else is between them."""
    found: list[str] = []
    while node is not given:
        module = called(block, node)
        if not isinstance(node, fx.Node) or module is None or len(node.args) != 1 or len(node.users) != 1:
            return []
        layer = _kind(module)
        if not _may_be_inside(layer):
            return []
        if not isinstance(layer, PASSED):
            found.append(str(node.target))
        (node,) = node.args
    return found[::-1]


def _may_be_inside(layer: nn.Module) -> bool:
    if is_plain_convolution(layer):
        return layer.groups == 1 or layer.groups == layer.in_channels == layer.out_channels
    return isinstance(layer, PASSED) or is_plain_batch_norm(layer) or is_activation(layer)


def _kind(module: nn.Module) -> nn.Module:
    """A layer, or the convolution that a task added to."""
    return module.convolution if isinstance(module, Adapted) else module


def _is_dense(module: nn.Module) -> TypeGuard[nn.Conv2d]:
    return isinstance(module, nn.Conv2d) and module.groups == 1


def _is_norm_alone(module: nn.Module) -> bool:
    """Whether it is a batch norm with no activation behind it."""
    return is_plain_batch_norm(module) and isinstance(getattr(module, "act", nn.Identity()), nn.Identity)
