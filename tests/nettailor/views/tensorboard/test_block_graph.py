"""The block graph: its nodes and edges, what they say, and that a deep one stays readable."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from tensorboard.compat.proto.graph_pb2 import GraphDef
from tensorboard.compat.proto.node_def_pb2 import NodeDef

from blocks import Backbone, CompactNet, CostModel, NetPlan, Plan, TailoredNet
from blocks import Path as BlockPath
from blocks.counting import Cost
from blocks.grown import Grown, Growth
from blocks.paths import UNIVERSAL
from nettailor.backbones.load import load_backbone
from nettailor.pruning.graph import BlockGraph
from nettailor.views.tensorboard.block_graph import MOST_NODES, Blocks, Part, block_graph
from nettailor.views.tensorboard.events import write_events
from tests.fabricated import pruned
from tests.nettailor.views.tensorboard.conftest import graph_in


def nodes_of(graph: GraphDef) -> dict[str, NodeDef]:
    found = {node.name: node for node in graph.node}
    assert len(found) == len(graph.node), "names are there once"
    sources = {edge.removeprefix("^") for node in graph.node for edge in node.input}
    assert sources <= set(found), "every edge begins at a node"
    return found


def test_sixteen_blocks_are_drawn_path_by_path(tmp_path: Path) -> None:
    student = TailoredNet(load_backbone("resnet34_tiny"), 10, Plan(skips=3))
    write_events(tmp_path, "graph", [block_graph(Blocks.of_student(student))])
    nodes = nodes_of(graph_in(tmp_path))
    assert len(nodes) == 3 + 61 + 16
    assert {node.device for node in nodes.values()} == {"kept"}
    block, proxy = nodes["layer3.1/G9"], nodes["layer3.1/A6-9"]
    assert block.op == "UniversalBlock"
    assert proxy.op == "Proxy"
    assert list(block.input) == ["layer3.0/mixture"]
    assert list(proxy.input) == ["layer2.2/mixture"]
    assert list(nodes["layer1.0/A0-1"].input) == ["stem"]
    assert list(nodes["head"].input) == ["layer4.2/mixture"]
    assert set(nodes["layer3.1/mixture"].input) == {f"layer3.1/{key}" for key in ("G9", "A8-9", "A7-9", "A6-9")}
    path = next(path for path in student.paths if path.key == "G9")
    assert block.attr["MACs"].i == student.costs[path].macs
    assert block.attr["parameters"].i == student.costs[path].params
    assert block.attr["gate"].f == pytest.approx(float(student.gates()[path.place].detach()))
    assert block.attr["form"].s == b"universal"
    assert block.attr["kept"].b
    assert "milliseconds" not in block.attr
    shape = [side.size for side in block.attr["_output_shapes"].list.shape[0].dim]
    assert shape == [1, *student.backbone.shapes[9]]
    owners = {node.attr["_XlaCluster"].s.decode() for node in nodes.values() if node.op == "Proxy"}
    assert owners == {"of this task alone"}


def test_what_is_dropped_stays_and_its_edges_are_dashed(backbone: Backbone) -> None:
    student = TailoredNet(backbone, 3, Plan(skips=1)).eval()
    whole = BlockGraph.of(student)
    student.keep(
        whole.without([p for p in whole.paths if p.key == "G3" or (not p.is_universal and p.key != "A2-3")]).paths
    )
    by_student = nodes_of(block_graph(Blocks.of_student(student)))
    dropped = {name.split("/")[1] for name, node in by_student.items() if node.device == "dropped"}
    assert dropped == {"G3", "A0-1", "A1-2", "A3-4", "A4-5", "A5-6"}
    name = backbone.block_names[2]
    assert set(by_student[f"{name}/mixture"].input) == {f"^{name}/G3", f"{name}/A2-3"}
    assert list(by_student[f"{name}/G3"].input) == [f"^{backbone.block_names[1]}/mixture"]
    assert by_student[f"{name}/G3"].attr["gate"].f == 0

    net = pruned(backbone)
    by_net = nodes_of(block_graph(Blocks.of_compact(net, student.costs)))
    assert {n: node.device for n, node in by_net.items()} == {n: node.device for n, node in by_student.items()}
    assert len(nodes_of(block_graph(Blocks.of_compact(net)))) == len(by_net) - 5, "of a delta alone, only what it keeps"


def test_copies_and_new_units_are_the_tasks_own(backbone: Backbone) -> None:
    paths = tuple(BlockPath(layer, 0, UNIVERSAL) for layer in range(1, 7))
    plan = NetPlan(paths, 3, copied=True, gated=False, tuned_from=5, top=Grown((Growth("width", 8),)))
    net = CompactNet(backbone, plan)
    nodes = nodes_of(block_graph(Blocks.of_compact(net)))
    names = backbone.block_names
    owners = [nodes[f"{name}/G{n}"].attr["_XlaCluster"].s.decode() for n, name in enumerate(names, 1)]
    assert owners == ["shared by all tasks"] * 4 + ["of this task alone"] * 2
    assert nodes["stem"].attr["_XlaCluster"].s == b"shared by all tasks"
    head = nodes["head"]
    assert list(head.input) == [f"{names[4]}/mixture", f"{names[5]}/mixture"]
    assert head.attr["form"].s.startswith(b"grown by 8 units")
    assert sum(node.attr["MACs"].i for node in nodes.values()) == net.cost().macs
    whole = nodes_of(block_graph(Blocks.of_compact(CompactNet(backbone, replace(plan, tuned_from=0)))))
    assert {node.attr["_XlaCluster"].s for node in whole.values() if "MACs" in node.attr} == {b"of this task alone"}


def test_a_layer_without_any_path_has_a_mixture_that_is_dropped(backbone: Backbone) -> None:
    student = TailoredNet(backbone, 3, Plan(skips=3))
    student.keep([path for path in student.paths if path.key in ("A0-3", "A3-6")])
    nodes = nodes_of(block_graph(Blocks.of_student(student)))
    mixtures = [nodes[f"{name}/mixture"].device for name in backbone.block_names]
    assert mixtures == ["dropped", "dropped", "kept", "dropped", "dropped", "kept"]


def test_milliseconds_are_there_where_they_are_known(backbone: Backbone) -> None:
    student = TailoredNet(backbone, 3, Plan(skips=1))
    student.use_cost_model(CostModel("latency", dict.fromkeys(student.paths, 0.25), 1.0, 9.0))
    nodes = nodes_of(block_graph(Blocks.of_student(student)))
    assert {node.attr["milliseconds"].f for node in nodes.values() if node.op in ("UniversalBlock", "Proxy")} == {0.25}


def test_sixty_blocks_are_one_node_each_and_say_which_paths_are_kept(deep: TailoredNet, tmp_path: Path) -> None:
    write_events(tmp_path, "graph", [block_graph(Blocks.of_student(deep))])
    nodes = nodes_of(graph_in(tmp_path))
    assert 20 <= len(nodes) <= MOST_NODES
    assert len(nodes) == 63
    layer = nodes["layer2.0"]
    assert set(layer.input) == {"layer1.14", "layer1.13", "layer1.12"}
    assert b"kept, universal" in layer.attr["path G16"].s
    assert {key for key in layer.attr if key.startswith("path ")} == {
        f"path {k}" for k in ("G16", "A15-16", "A14-16", "A13-16")
    }


def test_a_deep_graph_tells_layers_of_proxies_alone_from_those_that_are_gone(deep: TailoredNet) -> None:
    kept = {f"G{layer}" for layer in range(1, 58)} | {"A57-60"}
    parts = [Part(part.path, part.cost, part.gate, part.path.key in kept) for part in Blocks.of_student(deep).parts]
    nodes = nodes_of(block_graph(Blocks(deep.backbone, parts, 60)))
    devices = [nodes[name].device for name in deep.backbone.block_names]
    assert devices == ["kept"] * 57 + ["dropped"] * 2 + ["kept: proxies only"]
    assert set(nodes["layer4.14"].input) == {"layer4.11", "^layer4.12", "^layer4.13"}
    costs = {part.path.key: part.cost for part in parts}
    assert nodes["layer4.14"].attr["MACs"].i == costs["A57-60"].macs


@pytest.mark.parametrize(
    ("depth", "per_layer", "names"),
    [(16, 5, "G7 A6-7 A5-7 A4-7 mixture"), (30, 3, "G7 proxies mixture"), (50, 2, "G7 proxies"), (60, 1, "")],
)
def test_detail_goes_down_with_depth(deep: TailoredNet, depth: int, per_layer: int, names: str) -> None:
    class Cut:
        """The first blocks of the deep backbone."""

        spec, stem_cost, head_cost = deep.backbone.spec, Cost(1, 1), Cost(1, 1)
        block_names, shapes, depth = deep.backbone.block_names, deep.backbone.shapes, 0

    cut = Cut()
    cut.block_names, cut.shapes, cut.depth = cut.block_names[:depth], cut.shapes[: depth + 1], depth
    parts = [part for part in Blocks.of_student(deep).parts if part.path.target <= depth]
    nodes = nodes_of(block_graph(Blocks(cut, parts, depth)))  # type: ignore[arg-type]
    inside = {name.removeprefix("layer1.6").strip("/") for name in nodes if name.startswith("layer1.6")}
    assert inside == set(names.split() or [""])
    assert len(inside) == per_layer
    assert len(nodes) <= MOST_NODES
    assert list(nodes["head"].input)


def test_names_that_would_be_folders_or_ends_are_made_harmless(backbone: Backbone) -> None:
    class Named:
        block_names = ("a/b", "stem", "a.b")

    layers = [name for _, name, _ in Blocks(Named(), [], 3).layers()]  # type: ignore[arg-type]
    assert layers == ["a.b", "stem.2", "a.b.3"]
