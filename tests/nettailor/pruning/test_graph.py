"""The block graph: each exclusion rule on its own, all together, and the way to JSON and back."""

from __future__ import annotations

import copy
from typing import Any

import networkx as nx
import pytest

from blocks import Backbone, Path, Plan, TailoredNet, compact
from nettailor.pruning.graph import BlockGraph, GraphError


def line(depth: int, *proxies: tuple[int, int]) -> BlockGraph:
    """Universal blocks 1..depth, and proxies from one activation to another."""
    graph = BlockGraph(depth)
    for layer in range(1, depth + 1):
        graph.add(Path(layer, 0, "universal"), 0.9, 100, 10)
    for source, target in proxies:
        graph.add(Path(target, target - source, "conv1x1"), 0.1, 10, 1)
    return graph


def keys(graph: BlockGraph) -> set[str]:
    return {path.key for path in graph.paths}


def path(graph: BlockGraph, key: str) -> Path:
    return next(p for p in graph.paths if p.key == key)


def test_self_exclusion_drops_the_chosen_paths_and_no_other() -> None:
    graph = line(3, (0, 2))
    assert keys(graph.exclude_self([path(graph, "G1")])) == {"G2", "G3", "A0-2"}


def test_input_exclusion_drops_what_the_input_no_longer_reaches() -> None:
    graph = line(4, (0, 2), (1, 3))
    left = graph.exclude_self([path(graph, "G1")])  # x_1 is not reached any more
    assert keys(left.exclude_unreached()) == {"A0-2", "G3", "G4"}


def test_output_exclusion_drops_what_leads_to_the_output_no_longer() -> None:
    graph = line(4, (1, 4), (0, 2))
    left = graph.exclude_self([path(graph, "G4")])  # x_3, and so x_2, lead nowhere
    assert keys(left.exclude_dead_ends()) == {"G1", "A1-4"}


def test_the_three_rules_together() -> None:
    graph = line(5, (0, 2), (2, 5), (3, 5))
    assert keys(graph.without([path(graph, "G1"), path(graph, "G3")])) == {"A0-2", "A2-5"}


def test_exclusion_follows_chains() -> None:
    graph = line(6, (0, 6))
    assert keys(graph.without([path(graph, "G3")])) == {"A0-6"}


def test_nothing_left_is_refused() -> None:
    graph = line(3)
    with pytest.raises(GraphError, match="no way is left"):
        graph.without([path(graph, "G2")])


def test_the_graph_it_came_from_is_not_changed() -> None:
    graph = line(3, (0, 2))
    before = keys(graph)
    graph.without([path(graph, "G1")])
    assert keys(graph) == before
    assert isinstance(graph.graph, nx.MultiDiGraph)


def test_it_reads_gates_and_costs_off_a_student(backbone: Backbone) -> None:
    student = TailoredNet(backbone, 5, Plan(gates="softmax"))
    graph = BlockGraph.of(student)
    assert len(graph.universal()) == backbone.depth
    for p, data in graph.edges():
        assert data["gate"] == pytest.approx(float(student.gates().detach()[p.place]))
        assert data["macs"] == student.costs[p].macs
    net = compact(student)
    assert BlockGraph.of(net).paths == graph.paths
    assert BlockGraph.of(net).macs() == graph.macs()


def test_json_and_back_is_the_same_graph() -> None:
    graph = line(4, (0, 2), (1, 3))
    again = BlockGraph.from_json(graph.to_json(), 4)
    assert again.paths == graph.paths
    assert list(again.edges()) == list(graph.edges())


def broken(change: Any) -> dict[str, Any]:
    data = copy.deepcopy(line(3, (0, 2)).to_json())
    change(data)
    return data


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda d: d["nodes"].append({"id": 9}), "unknown node 9"),
        (lambda d: d["nodes"].append({"id": "x"}), "nodes.4.id: .*valid integer"),
        (lambda d: d["nodes"].append({"id": 2}), "each of the nodes 0 to 3 once"),
        (lambda d: d["nodes"].pop(), "each of the nodes 0 to 3 once"),
        (lambda d: d["edges"].append(dict(d["edges"][0])), "the edge 'G1' twice"),
        (lambda d: d["edges"][0].update(gate="abc"), "edges.0.gate: .*valid number"),
        (lambda d: d["edges"][0].update(gate=float("nan")), "edges.0.gate: .*finite number"),
        (lambda d: d["edges"][0].update(macs=[1]), "edges.0.macs: .*valid integer"),
        (lambda d: d["edges"][0].update(macs=-1), "edges.0.macs: .*greater than or equal to 0"),
        (lambda d: d["edges"][0].update(params=10**30), "edges.0.params: "),
        (lambda d: d["edges"][0].update(source=True), "edges.0.source: .*valid integer"),
        (lambda d: d["edges"][0].update(colour="red"), "edges.0.colour: "),
        (lambda d: d.update(directed=False), "directed: "),
        (lambda d: d.update(multigraph=False), "multigraph: "),
        (lambda d: d.update(nodes=[]), "nodes: "),
        (lambda d: d.update(graph={"name": "x"}), "graph: "),
        (lambda d: d["edges"].append({"source": 3, "target": 1, "key": "A3-1", "slot": 1, "form": "conv1x1"}), "cycle"),
        (lambda d: d["edges"][0].update(slot=2), "no path of a student"),
        (lambda d: d["edges"][0].update(form="conv1x1"), "no path of a student"),
        (lambda d: d["edges"][0].pop("slot"), "node-link"),
        (lambda d: d.pop("edges"), "node-link"),
        (lambda d: d["edges"].clear(), "no way from the input"),
        (lambda d: d["edges"].__delitem__(slice(2, None)), "leads nowhere"),
    ],
)
def test_a_graph_from_elsewhere_is_checked(change: Any, says: str) -> None:
    with pytest.raises(GraphError, match=says):
        BlockGraph.from_json(broken(change), 3)
