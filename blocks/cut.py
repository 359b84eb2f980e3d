"""Cut a CNN into stem, universal blocks and head, by its own structure.

    picture -> [ stem ] -> x_0 -> [ G_1 ] -> act_1 -> x_1 -> ... -> [ G_L ] -> act_L -> x_L -> [ head ] -> logits

1. Trace the model. Legal cuts are where one tensor (B, C, H, W) carries everything (`trace.legal_cuts`).
2. A module can be cut out when it reads one legal cut and ends at another. Of those, take the model's own units:

       ResNet                        each module of class BasicBlock can be cut out: BasicBlock is a unit class.
       |- conv1, bn1, ...            Convolutions can't: inside a block they stand beside the shortcut.
       |- layer1   Sequential        A plain container is looked into, and so is a class that holds several units of
       |  |- 0     BasicBlock  <--   its own (RegNet's and ConvNeXt's stages).
       |  |- 1     BasicBlock  <--
       |- layer2 ...                 So a block has a name that the user knows: layer1.0, layer1.1, ...
       |- fc                         the classifier

3. Where that gives fewer than five, every stretch between two neighbouring legal cuts that mixes channels is a unit: the
   convolutions of a plain stack (AlexNet, VGG), the parts of a stage.
4. What lies between two units (a pooling, a transition) opens the block that follows it. Norm and activation right behind a
   convolution belong to it. An activation that ends a block is split off and applied after the mixture of paths.

No family of networks is named here: there is no table of hints.
"""

from __future__ import annotations

import operator
from collections import defaultdict
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import torch
from torch import Tensor, fx, nn

from blocks.layer_types import convolves, is_activation, is_activation_name, is_norm, mixes_channels
from blocks.trace import CutError, extract, legal_cuts, output_shape, owner, picture_of, trace

CONTAINERS = (nn.Sequential, nn.ModuleList, nn.ModuleDict)
FEWEST_BLOCKS = 2
ENOUGH_BLOCKS = 5


@dataclass(frozen=True)
class Unit:
    """A part of the model that can be cut out: `path` names it, `entry` and `exit` are nodes of the traced graph."""

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
    """A model in pieces. `classifiers` are the paths, within `head`, of the layers that give the logits.

    There is more than one where the model averages several (a distilled model's second head).
    """

    stem: fx.GraphModule
    pieces: tuple[Piece, ...]
    head: fx.GraphModule
    classifiers: tuple[str, ...]


def cut(model: nn.Module, example: Tensor) -> Cut:
    """Cut `model`; the pieces share its modules and parameters.

    Args:
        model: a CNN that takes pictures (B, 3, H, W) and returns logits (B, classes).
        example: a batch of such pictures at the size to be used.

    Raises:
        CutError: the model can't be traced, has fewer than two units that can be cut out, or no linear classifier.
    """
    traced = trace(model, example)
    result = _result(traced.graph)
    classifiers = _classifiers(model, result)
    legal = [node for node in legal_cuts(traced.graph) if node not in classifiers]
    units = find_units(model, traced.graph, legal)
    if len(units) < FEWEST_BLOCKS:
        raise CutError(_too_few(model, units, legal))
    ends = [_absorb(unit.exit, following.entry, model) for unit, following in pairwise(units)]
    ends.append(_absorb(units[-1].exit, None, model))
    pieces, start = [], units[0].entry
    for unit, end in zip(units, ends, strict=True):
        inner = end.all_input_nodes[0] if _is_activation(end, model) else end
        act = extract(model, inner, end) if inner is not end else None
        pieces.append(Piece(unit.path, extract(model, start, inner), act))
        start = end
    stem = extract(model, picture_of(traced.graph), units[0].entry)
    head = extract(model, start, result)
    return Cut(stem, tuple(pieces), head, tuple(str(node.target) for node in classifiers))


def find_units(model: nn.Module, graph: fx.Graph, legal: list[fx.Node]) -> list[Unit]:
    """The model's own units, in the order in which they run; the first never starts at the picture itself."""
    modules = _Modules(model, graph, legal)
    own = _after_the_stem(modules.below("", {}))
    return own if len(own) >= ENOUGH_BLOCKS else max(own, _after_the_stem(stretches(model, graph, legal)), key=len)


def stretches(model: nn.Module, graph: fx.Graph, legal: list[fx.Node]) -> list[Unit]:
    """What lies between two neighbouring legal cuts and mixes channels, named by the modules that are called there."""
    found, inside = [], []
    entry, cuts = picture_of(graph), set(legal)
    for node in graph.nodes:
        if node.op == "call_module" and mixes_channels(model.get_submodule(str(node.target))):
            inside.append(str(node.target))
        if node in cuts:
            if inside:
                found.append(Unit(_common(inside), entry, node))
            entry, inside = node, []
    return found


class _Modules:
    """The module tree of a traced model, and which of its modules can be cut out."""

    def __init__(self, model: nn.Module, graph: fx.Graph, legal: list[fx.Node]) -> None:
        self.model = model
        self.modules = dict(model.named_modules())
        self.place = {node: place for place, node in enumerate(graph.nodes)}
        self.legal = set(legal)
        self.picture = picture_of(graph)
        self.nodes: dict[str, list[fx.Node]] = defaultdict(list)
        for node in graph.nodes:
            if node.op not in ("placeholder", "output", "get_attr"):
                for path in _and_above(owner(node)):
                    self.nodes[path].append(node)

    @cached_property
    def whole(self) -> dict[str, Unit]:
        """Every module that mixes channels and can be cut out, by its path."""
        units = {path: self._unit(path) for path in self.nodes if path in self.modules}
        return {path: unit for path, unit in units.items() if unit is not None}

    @cached_property
    def unit_classes(self) -> set[type[nn.Module]]:
        """Compound classes of which every module that runs and convolves can be cut out; plain containers are none."""
        running = [(path, m) for path, m in self.modules.items() if path in self.nodes and convolves(m)]
        apart = {type(module) for path, module in running if path not in self.whole}
        compound = {type(module) for _, module in running if any(True for _ in module.children())}
        return compound - apart - set(CONTAINERS) - {type(self.model)}

    def below(self, path: str, stages: dict[type[nn.Module], bool]) -> list[Unit]:
        """The units strictly below `path`. `stages` remembers which classes hold several units of their own."""
        found = []
        for name, child in self.modules[path].named_children():
            at = f"{path}.{name}" if path else name
            if at in self.whole and type(child) in self.unit_classes and not self._is_stage(type(child), stages):
                found.append(self.whole[at])
            elif at in self.nodes:
                found += self.below(at, stages)
        return sorted(found, key=lambda unit: self.place[unit.exit])

    def _is_stage(self, kind: type[nn.Module], stages: dict[type[nn.Module], bool]) -> bool:
        if kind not in stages:
            stages[kind] = False  # what nests modules of its own class is asked once
            paths = [path for path, module in self.modules.items() if type(module) is kind and path in self.nodes]
            stages[kind] = any(len(self.below(path, stages)) > 1 for path in paths)
        return stages[kind]

    def _unit(self, path: str) -> Unit | None:
        inside = self.nodes[path]
        if inside[-1] not in self.legal or not mixes_channels(self.modules[path]):
            return None
        members = set(inside)
        sources = {source for node in inside for source in node.all_input_nodes if source.op != "get_attr"} - members
        return (
            Unit(path, sources.pop(), inside[-1])
            if len(sources) == 1 and sources <= {self.picture, *self.legal}
            else None
        )


def _and_above(path: str) -> list[str]:
    """`a.b.c` -> `a`, `a.b`, `a.b.c`; the model itself is left out."""
    names = path.split(".") if path else []
    return [".".join(names[: count + 1]) for count in range(len(names))]


def _common(paths: list[str]) -> str:
    """`a.b.c`, `a.b.d` -> `a.b`; `a.b`, `c.d` -> `a..c`."""
    if len(paths) == 1:
        return paths[0]
    around = [path for path in _and_above(paths[0]) if all((other + ".").startswith(path + ".") for other in paths)]
    return around[-1] if around else f"{paths[0].split('.')[0]}..{paths[-1].split('.')[0]}"


def _after_the_stem(units: list[Unit]) -> list[Unit]:
    """A unit that reads the picture itself is the stem, not a block."""
    return [unit for unit in units if unit.entry.op != "placeholder"]


def _absorb(end: fx.Node, stop: fx.Node | None, model: nn.Module) -> fx.Node:
    """Move a block's end past the norms and activations that directly follow it."""
    while end is not stop and len(end.users) == 1:
        (after,) = end.users
        normalises = after.op == "call_module" and is_norm(model.get_submodule(str(after.target)))
        if not normalises and not _is_activation(after, model):
            break
        end = after
    return end


def _is_activation(node: fx.Node, model: nn.Module) -> bool:
    if len(node.all_input_nodes) != 1:
        return False
    if node.op == "call_module":
        return is_activation(model.get_submodule(str(node.target)))
    if node.op in ("call_function", "call_method"):
        return is_activation_name(node.target if isinstance(node.target, str) else getattr(node.target, "__name__", ""))
    return False


def _result(graph: fx.Graph) -> fx.Node:
    """The node that gives the logits (B, classes)."""
    (output,) = [node for node in graph.nodes if node.op == "output"]
    value = output.args[0]
    if not isinstance(value, fx.Node):
        count = len(value) if isinstance(value, (tuple, list, dict)) else "several"
        raise CutError(
            f"the model returns a {type(value).__name__} of {count}; one tensor of logits (pictures, classes) is needed: "
            "wrap it in a module that returns the logits alone"
        )
    shape = output_shape(value)
    if shape is None or len(shape) != 2:
        raise CutError(f"the model returns {shape}; one tensor of logits (pictures, classes) is needed")
    return value


def _too_few(model: nn.Module, units: list[Unit], legal: list[fx.Node]) -> str:
    found = ", ".join(unit.path for unit in units) or "none"
    return (
        f"{type(model).__name__} can be cut at {len(legal)} places and has {len(units)} modules between two of them "
        f"({found}); at least {FEWEST_BLOCKS} are needed. A CNN will do whose blocks convolve and pass one tensor "
        "(B, C, H, W) on, such as a ResNet, EfficientNet or ConvNeXt; a transformer or a net of parallel branches won't"
    )


def _classifiers(model: nn.Module, result: fx.Node) -> list[fx.Node]:
    """The linear layers or 1x1 convolutions behind which only operations without weights lead to the logits."""
    found, seen, waiting = [], set(), [result]
    while waiting:
        node = waiting.pop()
        layer = model.get_submodule(str(node.target)) if node.op == "call_module" else nn.Identity()
        if node.op == "placeholder" or (
            node.op == "get_attr" and operator.attrgetter(str(node.target))(model).ndim > 1
        ):
            raise CutError("no linear layer (or 1x1 convolution) gives the logits; each task puts its own in its place")
        if isinstance(layer, nn.Linear) or (isinstance(layer, nn.Conv2d) and layer.kernel_size == (1, 1)):
            found.append(node)
        elif any(True for _ in layer.parameters()):
            raise CutError(
                f"the logits come from {node.target}, a {type(layer).__name__}; a linear layer or a 1x1 convolution is "
                "needed, because each task puts its own in its place"
            )
        else:
            waiting += [source for source in node.all_input_nodes if source not in seen]
            seen.update(node.all_input_nodes)
    return sorted(found, key=lambda node: str(node.target))


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
