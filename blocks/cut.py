"""Cut a CNN into stem, universal blocks and head, by its own structure.

    picture -> [ stem ] -> x_0 -> [ G_1 ] -> act_1 -> x_1 -> ... -> [ G_L ] -> act_L -> x_L -> [ head ] -> logits

Cuts are legal only where one tensor carries everything (`trace.legal_cuts`). Among the legal ones, those at the ends of
the model's own repeated units are taken: residual blocks, the members of stages, the convolutions of a plain stack. So a
block has a name that the user knows (`layer2.0`, `blocks.3.1`). An elementwise activation at the end of a block is split
off and applied after the mixture of paths; where the block ends linearly there is none. What lies between two units (a
pooling, a transition) opens the block that follows it.

No family of networks is named here: the units are found by walking down the module tree.

    walk(module):  a container, or a module with several members of one class  -> walk into those members
                   anything else that can be cut out of the network            -> a unit
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, fx, nn

from blocks.trace import CutError, extract, legal_cuts, output_shape, owner, picture_of, trace

CONTAINERS = (nn.Sequential, nn.ModuleList, nn.ModuleDict)
ACTIVATIONS = {
    *("celu", "elu", "gelu", "gelutanh", "hardsigmoid", "hardswish", "hardtanh", "leakyrelu", "mish", "quickgelu"),
    *("relu", "relu6", "selu", "sigmoid", "silu", "softplus", "softsign", "swish", "tanh"),
}
FEWEST_BLOCKS = 2


@dataclass(frozen=True)
class Unit:
    """A module of the model that can be cut out: `path` names it, `entry` and `exit` are nodes of the traced graph."""

    path: str
    entry: fx.Node
    exit: fx.Node


@dataclass(frozen=True)
class Piece:
    """One universal block: its name in the model, its body, and the activation applied after the mixture, if any."""

    name: str
    body: fx.GraphModule
    act: fx.GraphModule | None


@dataclass(frozen=True)
class Cut:
    """A model in pieces. `classifier` is the path, within `head`, of the layer that gives the logits."""

    stem: fx.GraphModule
    pieces: tuple[Piece, ...]
    head: fx.GraphModule
    classifier: str


def cut(model: nn.Module, example: Tensor) -> Cut:
    """Cut `model`; the pieces share its modules and parameters.

    Args:
        model: a CNN that takes pictures (B, 3, H, W) and returns logits (B, classes).
        example: a batch of such pictures at the size to be used.

    Raises:
        CutError: the model can't be traced, has fewer than two places to cut, or no linear classifier.
    """
    traced = trace(model, example)
    result = _result(traced.graph)
    legal = [node for node in legal_cuts(traced.graph) if len(output_shape(node) or ()) == 4]
    units = find_units(model, traced.graph, legal)
    if len(units) < FEWEST_BLOCKS:
        raise CutError(
            f"{type(model).__name__} has {len(units)} units between which one tensor carries everything; at least "
            f"{FEWEST_BLOCKS} are needed (a CNN with repeated blocks)"
        )
    ends = [_absorb(unit.exit, following.entry, model) for unit, following in pairwise(units)]
    ends.append(_absorb(units[-1].exit, None, model))
    pieces, start = [], units[0].entry
    for unit, end in zip(units, ends, strict=True):
        inner = end.all_input_nodes[0] if _is_activation(end, model) else end
        act = extract(model, inner, end) if inner is not end else None
        pieces.append(Piece(unit.path, extract(model, start, inner), act))
        start = end
    head = extract(model, ends[-1], result)
    return Cut(extract(model, picture_of(traced.graph), units[0].entry), tuple(pieces), head, _classifier(head, result))


def find_units(model: nn.Module, graph: fx.Graph, legal: list[fx.Node]) -> list[Unit]:
    """The model's own repeated units, in the order in which they run; the first never starts at the picture itself."""
    finder = _UnitFinder(model, graph, set(legal))
    units = [unit for path in finder.walk("") if (unit := finder.unit(path)) is not None]
    order = {node: place for place, node in enumerate(graph.nodes)}
    units.sort(key=lambda unit: order[unit.exit])
    while units and units[0].entry.op == "placeholder":
        units.pop(0)  # a network without a stem of its own: its first unit is the stem
    return units


class _UnitFinder:
    """Walks the module tree of a traced model; answers which modules can be cut out."""

    def __init__(self, model: nn.Module, graph: fx.Graph, legal: set[fx.Node]) -> None:
        self.model = model
        self.nodes = [
            (node, owner(node)) for node in graph.nodes if node.op not in ("placeholder", "output", "get_attr")
        ]
        self.entries = legal | {node for node in graph.nodes if node.op == "placeholder"}
        self.exits = legal

    def unit(self, path: str) -> Unit | None:
        """The module at `path` as a unit, or None where it has no convolution or can't be cut out."""
        inside = [node for node, own in self.nodes if own == path or own.startswith(path + ".")]
        weights = (parameter.ndim for parameter in self.model.get_submodule(path).parameters())
        if not inside or 4 not in weights:
            return None
        sources = {source for node in inside for source in node.all_input_nodes} - set(inside)
        sources = {source for source in sources if source.op != "get_attr"}
        if len(sources) != 1 or not sources <= self.entries or inside[-1] not in self.exits:
            return None
        return Unit(path, sources.pop(), inside[-1])

    def walk(self, path: str) -> Iterator[str]:
        """Paths of the units at and below `path`; convolutions of a plain stack only where nothing larger is found."""
        found = list(self._members(path))
        yield from found or self._plain_stack(path)

    def _members(self, path: str) -> Iterator[str]:
        module = self.model.get_submodule(path)
        children = [(self._join(path, name), child) for name, child in module.named_children()]
        compound = [
            (at, child)
            for at, child in children
            if any(True for _ in child.children()) and (isinstance(child, CONTAINERS) or self.unit(at) is not None)
        ]
        kinds = Counter(type(child) for at, child in compound if self.unit(at) is not None)
        repeated = [
            (at, child)
            for at, child in compound
            if isinstance(module, CONTAINERS) or isinstance(child, CONTAINERS) or kinds[type(child)] > 1
        ]
        inner = [unit for at, _ in repeated for unit in self._members(at)]
        several = sum(count for kind, count in kinds.items() if not issubclass(kind, CONTAINERS)) > 1
        if inner and (isinstance(module, CONTAINERS) or path == "" or len(inner) > 1 or several):
            yield from inner
        elif path and not isinstance(module, CONTAINERS) and self.unit(path) is not None:
            yield path
        elif path == "" and len(children) == 1:
            yield from self._members(children[0][0])  # a model wrapped in another

    def _plain_stack(self, path: str) -> list[str]:
        """The convolutions of the sequential container that has the most of them."""
        stacks = []
        for name, module in self.model.get_submodule(path).named_modules(prefix=path):
            if isinstance(module, nn.Sequential):
                members = [self._join(name, key) for key, _ in module.named_children()]
                stacks.append([member for member in members if self.unit(member) is not None])
        return max(stacks, key=len, default=[])

    @staticmethod
    def _join(path: str, name: str) -> str:
        return f"{path}.{name}" if path else name


def _absorb(end: fx.Node, stop: fx.Node | None, model: nn.Module) -> fx.Node:
    """Move a block's end past the batch norms and activations that directly follow it."""
    while end is not stop and len(end.users) == 1:
        (after,) = end.users
        normalises = after.op == "call_module" and isinstance(
            model.get_submodule(str(after.target)), nn.modules.batchnorm._BatchNorm
        )
        if not normalises and not _is_activation(after, model):
            break
        end = after
    return end


def _is_activation(node: fx.Node, model: nn.Module) -> bool:
    if len(node.all_input_nodes) != 1:
        return False
    if node.op == "call_module":
        module = model.get_submodule(str(node.target))
        return type(module).__name__.lower() in ACTIVATIONS and not any(True for _ in module.parameters())
    if node.op in ("call_function", "call_method"):
        name = node.target if isinstance(node.target, str) else getattr(node.target, "__name__", "")
        return name.rstrip("_").replace("_", "") in ACTIVATIONS
    return False


def _result(graph: fx.Graph) -> fx.Node:
    """The node that gives the logits (B, classes)."""
    (output,) = [node for node in graph.nodes if node.op == "output"]
    value = output.args[0]
    if not isinstance(value, fx.Node):
        kind = type(value).__name__
        raise CutError(
            f"the model returns a {kind} of several things; one tensor of logits (pictures, classes) is needed"
        )
    shape = output_shape(value)
    if shape is None or len(shape) != 2:
        raise CutError(f"the model returns {shape}; one tensor of logits (pictures, classes) is needed")
    return value


def _classifier(head: fx.GraphModule, result: fx.Node) -> str:
    classes = (output_shape(result) or (0, 0))[1]
    for node in reversed(head.graph.nodes):
        if node.op == "call_module":
            layer = head.get_submodule(node.target)
            if isinstance(layer, nn.Linear) and layer.out_features == classes:
                return str(node.target)
            if isinstance(layer, nn.Conv2d) and layer.out_channels == classes and layer.kernel_size == (1, 1):
                return str(node.target)
    raise CutError("behind the last block there is no linear layer (or 1x1 convolution) that gives the logits")


def new_classifier(old: nn.Module, classes: int) -> nn.Module:
    """A classifier for `classes` classes that reads what `old` reads, started small so that no class is preferred."""
    if isinstance(old, nn.Conv2d):
        new: nn.Module = nn.Conv2d(old.in_channels, classes, 1)
    elif isinstance(old, nn.Linear):
        new = nn.Linear(old.in_features, classes)
    else:
        raise TypeError(f"a classifier is Linear or Conv2d, not {type(old).__name__}")
    nn.init.normal_(new.weight, std=0.01)  # type: ignore[arg-type]
    nn.init.zeros_(new.bias)  # type: ignore[arg-type]
    return new.to(torch.get_default_dtype())
