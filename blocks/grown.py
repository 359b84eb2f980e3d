"""Grown networks: new units at the top of a backbone (Wang, Ramanan, Hebert, "Growing a Brain", CVPR 2017).

    x_(L-2) -> U' -+                                       h = the representation, C = a new classifier
                   v                                       N(v) = gamma * v / max(|v|, 1e-8)   (`blocks.scaled_norm`)
    x_(L-1) -----> U -> mean -> h+                         a = ReLU(W [N(h); ...] + b)
       |                         |
       +---> G_L -> head ------> h -> [N(h); N(h+)] -> C

    depth   C N(a), a reads N(h)            both    C N(a), a reads [N(h); N(h+)]
    width   C [N(h); N(h+)]                 twice   C [N(h); N(h+)], U reads [x_(L-1); u], u = U'(x_(L-2))

New units are U(x): a 3x3 convolution with bias at the block's stride, then ReLU; no batch norm, which would be a second
normalisation. Where the head has linear layers before its classifier, those are the top layers, h is their output and U is
linear with ReLU, as published. With only one of them G_L is the layer below it. The old layers read what they always read.

A network may grow several times: each step goes on from what the one before it left, and every branch has its own N. After
a step in depth the top layer is `a`, so that a further step in width sets linear units beside it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Literal, get_args

import torch
from torch import fx, nn
from torch.nn.functional import relu

from blocks.backbone import Backbone
from blocks.head_layers import check_top_layer, linear_layers
from blocks.proxies import Shape
from blocks.representation import representation
from blocks.scaled_norm import ScaledNorm
from blocks.top import NEW, TopError, register

GROWN = "grown_"
"""How the names of modules begin that an earlier step of growth has added."""
SCALE, CLASSIFIER = "scale", "new_classifier"
MOST_UNITS, MOST_STEPS = 2**16, 8
CLASSIFIER_STD = 0.01

GrowthKind = Literal["depth", "width", "both", "twice"]
KINDS = get_args(GrowthKind)


@dataclass(frozen=True)
class Growth:
    """One step of growth.

    Attributes:
        kind: depth, width, both, or twice.
        units: S, of the new layer or beside the top layer; in `both` of each of the two.
        below: of `twice` alone: units beside the layer below the top.

    Raises:
        TopError: units that such a step can't have.
    """

    kind: GrowthKind
    units: int
    below: int = 0

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise TopError(f"a network grows in {', '.join(KINDS)}, not {self.kind!r}")
        if not 1 <= self.units <= MOST_UNITS or not 0 <= self.below <= MOST_UNITS:
            raise TopError(f"1 to {MOST_UNITS} units can be grown, not {self.units} and {self.below}")
        if (self.below > 0) != (self.kind == "twice"):
            raise TopError(f"growth of kind {self.kind} has {self.below} units in the layer below the top")

    def __str__(self) -> str:
        what = {
            "depth": f"a layer of {self.units} units on top",
            "width": f"{self.units} units beside the top layer",
            "both": f"{self.units} units beside the top layer and a layer of {self.units} on top",
            "twice": f"{self.units} units beside the top layer and {self.below} beside the one below it",
        }
        return what[self.kind]


@register
@dataclass(frozen=True)
class Grown:
    """A head with new units, in one step of growth or several.

    Attributes:
        scaled: whether branches are normalised and scaled; otherwise N(v) = v.

    Raises:
        TopError: steps that can't follow each other.
    """

    kind: ClassVar[str] = "grown"
    keeps_source_classifier: ClassVar[bool] = False
    steps: tuple[Growth, ...]
    scaled: bool = True

    def __post_init__(self) -> None:
        if not 1 <= len(self.steps) <= MOST_STEPS:
            raise TopError(f"a network grows in 1 to {MOST_STEPS} steps, not {len(self.steps)}")
        kinds = [step.kind for step in self.steps]
        if any(kind == "twice" and {"depth", "both"} & set(kinds[:place]) for place, kind in enumerate(kinds)):
            raise TopError("a network that has grown in depth has no two layers any more that could be widened")

    def reads(self, backbone: Backbone) -> tuple[int, ...]:
        """x_L, and what the new units beside blocks read."""
        last, blocks = backbone.depth, 2 - min(2, len(linear_layers(backbone)))
        deepest = 0
        for step in self.steps:
            if step.kind != "depth":
                deepest = max(deepest, blocks if step.kind == "twice" else blocks - 1)
            if step.kind in ("depth", "both"):
                break  # what grows from here on stands above h
        return tuple(range(last - deepest, last + 1))

    def branches(self, backbone: Backbone) -> dict[str, int]:
        """What the classifier reads, in this order: the length of each branch by its name, `h` or that of its units."""
        found = {"h": backbone.features}
        for number, step in enumerate(self.steps, 1):
            if step.kind != "depth":
                found[f"beside{number}"] = step.units
            if step.kind in ("depth", "both"):
                found = {f"above{number}": step.units}
        return found

    def build(self, backbone: Backbone, classes: int) -> fx.GraphModule:
        """The activations of `reads` to logits.

        Raises:
            TopError: the head neither pools nor has linear layers before its classifier, or has several classifiers.
        """
        built = _Builder(backbone, self)
        for number, step in enumerate(self.steps, 1):
            built.grow(number, step)
        return built.classify(classes)

    def describe(self, backbone: Backbone) -> str:
        """What was grown, in one line."""
        steps = ", then ".join(map(str, self.steps))
        branches = (
            "each branch of unit length times a learned scale per channel" if self.scaled else "branches not scaled"
        )
        return f"grown by {steps}; {branches}"


@dataclass(frozen=True)
class _Branch:
    """A vector that the next layer reads."""

    name: str
    node: fx.Node
    width: int


@dataclass
class _Feed:
    """What a layer reads, and so the new units beside it: maps to be convolved, or vectors.

    Attributes:
        places: of maps, the shapes that its layer leads from and to; None for vectors.
        pooled: of maps, whether new units are pooled to vectors.
    """

    nodes: list[fx.Node] = field(default_factory=list)
    width: int = 0
    places: tuple[Shape, Shape] | None = None
    pooled: bool = False

    def add(self, node: fx.Node, width: int) -> None:
        """Let it also read what new units of the layer below give."""
        self.nodes.append(node)
        self.width += width


class _Builder:
    """A graph that grows on top of the head without its classifier."""

    def __init__(self, backbone: Backbone, top: Grown) -> None:
        features = representation(backbone)
        check_top_layer(backbone, features)
        self._top, self._graph = top, fx.Graph()
        self._modules: dict[str, nn.Module] = {}
        self._root = features
        self._scaled: dict[str, fx.Node] = {}
        given = {number: self._graph.placeholder(f"x{number}") for number in top.reads(backbone)}
        (x,) = [node for node in features.graph.nodes if node.op == "placeholder"]
        copies: dict[fx.Node, fx.Node] = {x: given[backbone.depth]}
        h = self._graph.graph_copy(features.graph, copies)
        assert isinstance(h, fx.Node)
        self._branches = [_Branch("h", h, backbone.features)]
        last = backbone.depth
        linear = linear_layers(backbone)
        layers = [_block_feed(backbone, given, last - 1), _block_feed(backbone, given, last)]
        layers += [_linear_feed(features, node, copies) for node in features.graph.nodes if node.target in linear]
        self._under, self._feed = layers[-2:]

    def grow(self, number: int, step: Growth) -> None:
        """Add the units of one step, the first of which is number 1."""
        prefix = NEW if number == len(self._top.steps) else GROWN
        if step.kind == "twice":
            self._feed.add(self._units(f"{prefix}below{number}", self._under, step.below), step.below)
        if step.kind != "depth":
            units = self._units(f"{prefix}beside{number}", self._feed, step.units)
            self._branches.append(_Branch(f"beside{number}", units, step.units))
        if step.kind in ("depth", "both"):
            self._feed, self._under = self._joined(prefix), _Feed()
            units = self._units(f"{prefix}above{number}", self._feed, step.units)
            self._branches = [_Branch(f"above{number}", units, step.units)]

    def classify(self, classes: int) -> fx.GraphModule:
        """The whole head: a new classifier on the branches."""
        read = self._joined(NEW)
        classifier = nn.Linear(read.width, classes)
        nn.init.normal_(classifier.weight, std=CLASSIFIER_STD)
        nn.init.zeros_(classifier.bias)
        self._graph.output(self._call(CLASSIFIER, classifier, self._together(read)))
        for name, module in self._modules.items():
            self._root.add_module(name, module)
        return fx.GraphModule(self._root, self._graph)

    def _joined(self, prefix: str) -> _Feed:
        """All branches, each normalised and scaled; the scale of a branch that was read before is the one that it has."""
        feed = _Feed()
        for branch in self._branches:
            if branch.name not in self._scaled:
                norm = ScaledNorm(branch.width)
                name = f"{prefix}{SCALE}_{branch.name}"
                self._scaled[branch.name] = self._call(name, norm, branch.node) if self._top.scaled else branch.node
            feed.add(self._scaled[branch.name], branch.width)
        return feed

    def _units(self, name: str, feed: _Feed, count: int) -> fx.Node:
        """New units that read what a layer reads."""
        module: nn.Module = nn.Linear(feed.width, count)
        if feed.places is not None:
            module = nn.Conv2d(feed.width, count, 3, stride_between(*feed.places), 1)
        units = self._graph.call_function(relu, (self._call(name, module, self._together(feed)),))
        if feed.places is None:
            return units
        if feed.pooled:
            return self._graph.call_method("mean", (units, (2, 3)))
        return self._at(units, *feed.places)

    def _at(self, units: fx.Node, source: Shape, target: Shape) -> fx.Node:
        """Maps at the resolution of the layer that they stand beside, which pads otherwise than they do."""
        steps = stride_between(source, target)
        if all(-(-have // step) == want for have, step, want in zip(source[1:], steps, target[1:], strict=True)):
            return units
        return self._graph.call_function(nn.functional.adaptive_avg_pool2d, (units, target[1:]))

    def _together(self, feed: _Feed) -> fx.Node:
        return feed.nodes[0] if len(feed.nodes) == 1 else self._graph.call_function(torch.cat, (tuple(feed.nodes), 1))

    def _call(self, name: str, module: nn.Module, x: fx.Node) -> fx.Node:
        self._modules[name] = module
        self._root.add_module(name, module)
        return self._graph.call_module(name, (x,))


def stride_between(source: Shape, target: Shape) -> tuple[int, int]:
    """The stride of a padded convolution from one resolution to another."""
    down, across = (max(1, -(-have // want)) for have, want in zip(source[1:], target[1:], strict=True))
    return down, across


def _block_feed(backbone: Backbone, given: dict[int, fx.Node], layer: int) -> _Feed:
    """What a block reads; nothing where that is not given, because nothing grows beside the block."""
    if layer - 1 not in given:
        return _Feed()
    source, target = backbone.shapes[layer - 1], backbone.shapes[layer]
    return _Feed([given[layer - 1]], source[0], (source, target), pooled=layer == backbone.depth)


def _linear_feed(features: fx.GraphModule, node: fx.Node, copies: dict[fx.Node, fx.Node]) -> _Feed:
    """What a linear layer of the head reads."""
    layer = features.get_submodule(str(node.target))
    assert isinstance(layer, nn.Linear)
    (x,) = node.all_input_nodes
    return _Feed([copies[x]], layer.in_features)
