"""The block graph for TensorBoard's Graphs tab: a node for each path, with what it costs and whether it is kept.

    TailoredNet, or CompactNet -> Blocks -> block_graph -> GraphDef

    input -> stem -> layer1.0/G1   -> layer1.0/mixture -> layer1.1/G2 ...
                 \\-> layer1.0/A0-1 -/

`device` says "kept" or "dropped", so that colouring by device shows what is left; the "XLA cluster" says whose a part is:
shared by all tasks, or this task's own. Edges of what is dropped are drawn dashed. A deep network's paths are drawn together,
layer by layer, so that there are at most `MOST_NODES`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from tensorboard.compat.proto.attr_value_pb2 import AttrValue
from tensorboard.compat.proto.graph_pb2 import GraphDef
from tensorboard.compat.proto.node_def_pb2 import NodeDef
from tensorboard.compat.proto.tensor_shape_pb2 import TensorShapeProto
from tensorboard.compat.proto.versions_pb2 import VersionDef

from blocks import Backbone, CompactNet, Path, TailoredNet
from blocks.counting import Cost, count_params, tensors_of
from blocks.paths import UNIVERSAL
from blocks.top import describe

MOST_NODES = 120
KEPT, DROPPED, PROXIES_ONLY = "kept", "dropped", "kept: proxies only"
SHARED, OWN = "shared by all tasks", "of this task alone"
INPUT, STEM, HEAD, MIXTURE, PROXIES = "input", "stem", "head", "mixture", "proxies"


@dataclass(frozen=True)
class Part:
    """One path; what is not known of it is None. `copied`: its block is a copy of the task's own."""

    path: Path
    cost: Cost
    gate: float | None
    kept: bool
    ms: float | None = None
    copied: bool = False


@dataclass(frozen=True)
class Blocks:
    """All paths that there are or were over a backbone, layer by layer.

    Attributes:
        depth: the activation that the head reads.
        beside: activations that new units in the head read beside it.
        head: what the head costs; the backbone's own, without a classifier, if left out.
        top: what the head is made of, where it is more than a classifier.
        own_stem: the stem is a copy of the task's own.
    """

    backbone: Backbone
    parts: list[Part]
    depth: int
    beside: tuple[int, ...] = ()
    head: Cost | None = None
    top: str = ""
    own_stem: bool = False

    @classmethod
    def of_student(cls, student: TailoredNet, ms: Mapping[str, float] | None = None) -> Blocks:
        """Every path of a student, those that are removed too.

        Args:
            ms: milliseconds of paths by key; what the student counts in, where those are milliseconds, if left out.
        """
        gates, live, model = student.gates().detach(), set(student.live_paths()), student.cost_model
        if ms is None:
            ms = {path.key: price for path, price in model.paths.items()} if model.unit == "latency" else {}
        parts = [
            Part(path, student.costs[path], float(gates[path.place]), path in live, ms.get(path.key))
            for path in student.paths
        ]
        return cls(student.backbone, parts, student.depth)

    @classmethod
    def of_compact(
        cls, net: CompactNet, candidates: Mapping[Path, Cost] | None = None, ms: Mapping[str, float] | None = None
    ) -> Blocks:
        """The paths of a compact net, and what it does without.

        Args:
            candidates: all paths that its student had; the universal blocks alone if left out.
            ms: milliseconds of paths by key, where they are known.
        """
        kept, ms = set(net.paths), ms or {}
        costs = {Path(n, 0, UNIVERSAL): cost for n, cost in enumerate(net.backbone.block_costs, 1)}
        costs |= dict(candidates or {}) | {path: net.path_cost(path) for path in net.paths}
        first, top = net.plan.copied_from, net.plan.top
        copies = {path for path in kept if first is not None and path.is_universal and path.target >= first}
        parts = [
            Part(
                path,
                costs[path],
                net.gate_of(path) if path in kept else 0.0,
                path in kept,
                ms.get(path.key),
                path in copies,
            )
            for path in sorted(costs)
        ]
        if top is None:
            return cls(net.backbone, parts, net.depth, own_stem=first == 0)
        beside = tuple(number for number in net.head_reads if number != net.depth)
        macs = net.cost().macs - net.backbone.stem_cost.macs - sum(costs[path].macs for path in kept)
        head = Cost(macs, count_params(tensors_of(net.head).values()))
        return cls(net.backbone, parts, net.depth, beside, head, describe(top, net.backbone), first == 0)

    def layers(self) -> Iterator[tuple[int, str, list[Part]]]:
        """Every layer of the backbone: number, name, paths into it with the universal block first."""
        taken = {INPUT, STEM, HEAD}
        for number, name in enumerate(self.backbone.block_names, 1):
            plain = name.replace("/", ".")
            if plain in taken:
                plain = f"{plain}.{number}"
            taken.add(plain)
            yield number, plain, [part for part in self.parts if part.path.target == number]


def block_graph(blocks: Blocks) -> GraphDef:
    """The graph, in as much detail as `MOST_NODES` allow: each path with its layer's mixture; or the proxies of a layer as
    one; or those without mixtures; or one node for each layer."""
    layers = blocks.backbone.depth
    drawings = ((_paths, len(blocks.parts) + layers), (_together, 3 * layers), (_sides, 2 * layers))
    draw = next((draw for draw, nodes in drawings if 3 + nodes <= MOST_NODES), _whole_layers)
    backbone, size = blocks.backbone, blocks.backbone.spec.size
    nodes = [_node(INPUT, "Pictures", [], (3, size, size))]
    nodes.append(
        _node(
            STEM, "Stem", [INPUT], backbone.shapes[0], cost=backbone.stem_cost, owner=OWN if blocks.own_stem else SHARED
        )
    )
    ends, last = {0: [STEM]}, [STEM]
    for number, name, parts in blocks.layers():
        made, ends[number] = draw(name, parts, ends, backbone.shapes[number])
        nodes += made
        if number == blocks.depth:
            last = ends[number]
    last = [*dict.fromkeys([*(end for number in blocks.beside for end in ends[number]), *last])]
    head = _node(HEAD, "Head", last, cost=blocks.head or backbone.head_cost, owner=OWN)
    if blocks.top:
        head.attr["form"].s = blocks.top.encode()
    nodes.append(head)
    return GraphDef(node=nodes, versions=VersionDef(producer=22))


Drawn = tuple[list[NodeDef], list[str]]
"""Nodes of a layer, and those of them whose output the next layers read."""


def _paths(name: str, parts: list[Part], ends: dict[int, list[str]], shape: tuple[int, ...]) -> Drawn:
    """Every path a node, and the layer's mixture."""
    nodes = [_path_node(f"{name}/{part.path.key}", part, ends[part.path.source], shape) for part in parts]
    return _mixed(name, nodes, shape)


def _together(name: str, parts: list[Part], ends: dict[int, list[str]], shape: tuple[int, ...]) -> Drawn:
    """The block, the proxies as one node, and the mixture."""
    nodes, _ = _sides(name, parts, ends, shape)
    return _mixed(name, nodes, shape)


def _sides(name: str, parts: list[Part], ends: dict[int, list[str]], shape: tuple[int, ...]) -> Drawn:
    """The block, and the proxies as one node."""
    nodes = []
    for part in parts[:1]:
        nodes.append(_path_node(f"{name}/{part.path.key}", part, ends[part.path.source], shape))
    if proxies := [part for part in parts if not part.path.is_universal]:
        nodes.append(_group_node(f"{name}/{PROXIES}", "Proxies", proxies, ends, shape))
    return nodes, [node.name for node in nodes if node.device == KEPT] or [node.name for node in nodes]


def _whole_layers(name: str, parts: list[Part], ends: dict[int, list[str]], shape: tuple[int, ...]) -> Drawn:
    """Block and proxies as one node."""
    node = _group_node(name, "Layer", parts, ends, shape)
    if node.device == KEPT and not any(part.kept for part in parts if part.path.is_universal):
        node.device = PROXIES_ONLY
    return [node], [name]


def _mixed(name: str, nodes: list[NodeDef], shape: tuple[int, ...]) -> Drawn:
    """The nodes of a layer with the mixture of those that are kept."""
    end = f"{name}/{MIXTURE}"
    alive = any(node.device == KEPT for node in nodes)
    inputs = [node.name if node.device == KEPT else f"^{node.name}" for node in nodes]
    return [*nodes, _node(end, "Mixture", inputs, shape, kept=alive)], [end]


def _path_node(name: str, part: Part, inputs: list[str], shape: tuple[int, ...]) -> NodeDef:
    op, owner = ("UniversalBlock", OWN if part.copied else SHARED) if part.path.is_universal else ("Proxy", OWN)
    node = _node(name, op, _edges(inputs, part.kept), shape, part.cost, part.kept, owner)
    node.attr["form"].s = part.path.form.encode()
    if part.gate is not None:
        node.attr["gate"].f = part.gate
    if part.ms is not None:
        node.attr["milliseconds"].f = part.ms
    return node


def _group_node(name: str, op: str, parts: list[Part], ends: dict[int, list[str]], shape: tuple[int, ...]) -> NodeDef:
    """Several paths as one node: costs of those that are kept, or of all where none is; each with its own line."""
    kept = [part for part in parts if part.kept]
    counted = kept or parts
    inputs: dict[str, bool] = {}
    for part in parts:
        for end in ends[part.path.source]:
            inputs[end] = inputs.get(end, False) or part.kept
    edges = [edge for end, live in inputs.items() for edge in _edges([end], live)]
    cost = Cost(sum(part.cost.macs for part in counted), sum(part.cost.params for part in counted))
    owner = SHARED if any(part.path.is_universal and not part.copied for part in counted) else OWN
    node = _node(name, op, edges, shape, cost, bool(kept), owner)
    if all(part.ms is not None for part in counted):
        node.attr["milliseconds"].f = sum(part.ms or 0.0 for part in counted)
    if all(part.gate is not None for part in parts):
        node.attr["gate"].f = sum(part.gate or 0.0 for part in kept)
    for part in parts:
        node.attr[f"path {part.path.key}"].s = _line(part).encode()
    return node


def _line(part: Part) -> str:
    said = [KEPT if part.kept else DROPPED, part.path.form, f"{part.cost.macs} MACs", f"{part.cost.params} parameters"]
    said += [] if part.gate is None else [f"gate {part.gate:.4f}"]
    return ", ".join(said + ([] if part.ms is None else [f"{part.ms:.4f} ms"]))


def _edges(inputs: list[str], kept: bool) -> list[str]:
    return inputs if kept else [f"^{name}" for name in inputs]


def _node(
    name: str,
    op: str,
    inputs: list[str],
    shape: tuple[int, ...] | None = None,
    cost: Cost | None = None,
    kept: bool = True,
    owner: str | None = None,
) -> NodeDef:
    node = NodeDef(name=name, op=op, input=inputs, device=KEPT if kept else DROPPED)
    node.attr["kept"].b = kept
    if cost is not None:
        node.attr["MACs"].i, node.attr["parameters"].i = cost.macs, cost.params
    if owner is not None:
        node.attr["_XlaCluster"].s = owner.encode()
    if shape is not None:
        sides = [TensorShapeProto.Dim(size=side) for side in (1, *shape)]
        node.attr["_output_shapes"].CopyFrom(AttrValue(list=AttrValue.ListValue(shape=[TensorShapeProto(dim=sides)])))
    return node
