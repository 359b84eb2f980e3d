"""The block graph: activations are nodes, paths are edges, and the three exclusions are questions about reachability.

    x_0 ==G1==> x_1 ==G2==> x_2 ...      each edge carries its Path, gate, MACs and parameters
      \\___________A0-2______/

A path is dropped when it is chosen to be (self-exclusion), when its source is no longer reachable from the input (input
exclusion), or when its target no longer reaches the output (output exclusion). NetTailor, section 3.4.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import field
from typing import Annotated, Any, Literal

import networkx as nx
from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass as schema

from blocks import CompactNet, Path, TailoredNet
from blocks.paths import UNIVERSAL
from nettailor.errors import NettailorError
from nettailor.schema import first_error


class GraphError(NettailorError):
    """A graph that is no block graph, or a removal that leaves no way from the input to the output."""


STRICT = ConfigDict(extra="forbid", allow_inf_nan=False, strict=True)
Number = Annotated[int, Field(ge=0, lt=2**53)]


@schema(config=STRICT, frozen=True)
class NodeFields:
    """One activation of a graph on disk, by its number."""

    id: Number


@schema(config=STRICT, frozen=True)
class EdgeFields:
    """One path of a graph on disk. `macs` and `params` are there to be read: no network is built from them."""

    source: Number
    target: Number
    key: str
    slot: Number
    form: str
    gate: float = 0.0
    macs: Number = 0
    params: Number = 0


@schema(config=ConfigDict(extra="forbid"), frozen=True)
class GraphFields:
    """A graph on disk: networkx's node-link data of a directed multigraph without attributes of its own."""

    nodes: Annotated[list[NodeFields], Field(min_length=2)]
    edges: list[EdgeFields]
    directed: Literal[True] = True
    multigraph: Literal[True] = True
    graph: Annotated[dict[str, Any], Field(max_length=0)] = field(default_factory=dict)


class BlockGraph:
    """Paths over activations 0..depth as a networkx multi-digraph; `graph` is open to any networkx function.

    Edge keys are the paths' own (`G5`, `A3-5`); edge data holds `path`, `gate`, `macs`, `params` and `price`: what the path
    costs in the unit that the run counts in (MACs, parameters or milliseconds). The blocks of layers up to `shared_prefix`
    stay, whatever is removed.
    """

    def __init__(self, depth: int, shared_prefix: int = 0) -> None:
        self.depth = depth
        self.shared_prefix = shared_prefix
        self.graph = nx.MultiDiGraph()
        self.graph.add_nodes_from(range(depth + 1))

    @classmethod
    def of(cls, net: TailoredNet | CompactNet) -> BlockGraph:
        """The live paths of a student, or all paths of a compact net."""
        result = cls(net.depth, net.plan.shared_prefix)
        if isinstance(net, TailoredNet):
            gates = net.gates().detach()
            for path in net.live_paths():
                cost = net.costs[path]
                result.add(path, float(gates[path.place]), cost.macs, cost.params, net.cost_model.paths[path])
        else:
            for path in net.paths:
                cost = net.path_cost(path)
                result.add(path, net.gate_of(path), cost.macs, cost.params)
        return result

    def add(self, path: Path, gate: float, macs: int, params: int, price: float | None = None) -> None:
        """Add one edge; its price is its MACs where none is given."""
        data = {"gate": gate, "macs": macs, "params": params, "price": float(macs if price is None else price)}
        self.graph.add_edge(path.source, path.target, key=path.key, path=path, **data)

    @property
    def paths(self) -> list[Path]:
        """All paths, layer by layer."""
        return sorted(data["path"] for _, _, data in self.graph.edges(data=True))

    def edges(self) -> Iterator[tuple[Path, dict[str, Any]]]:
        """Paths with their edge data, layer by layer."""
        rows = [(data["path"], data) for _, _, data in self.graph.edges(data=True)]
        yield from sorted(rows, key=lambda row: row[0])

    def data(self, path: Path) -> dict[str, Any]:
        """The edge data of one path."""
        found: dict[str, Any] = self.graph.edges[path.source, path.target, path.key]
        return found

    def universal(self) -> list[Path]:
        """The universal blocks among the paths."""
        return [path for path in self.paths if path.is_universal]

    def proxies(self) -> list[Path]:
        """The proxies among the paths."""
        return [path for path in self.paths if not path.is_universal]

    def macs(self) -> int:
        """MACs of all paths; stem and head are not in the graph."""
        return sum(data["macs"] for _, data in self.edges())

    def price(self) -> float:
        """What all paths cost, in the unit of the run."""
        return float(sum(data["price"] for _, data in self.edges()))

    def stays(self, path: Path) -> bool:
        """Whether a path is of the shared prefix, which nothing is removed from."""
        return path.target <= self.shared_prefix

    def fixed_price(self) -> float:
        """What the paths of the shared prefix cost."""
        return float(sum(data["price"] for path, data in self.edges() if self.stays(path)))

    def without(self, chosen: Iterable[Path]) -> BlockGraph:
        """A new graph without the chosen paths and without all that their removal excludes.

        Raises:
            GraphError: nothing leads from the input to the output any more, or a block of the shared prefix would go.
        """
        left = self.exclude_self(chosen).exclude_unreached().exclude_dead_ends()
        if not left.graph.number_of_edges():
            raise GraphError("no way is left from the input to the output; remove fewer paths")
        if sum(map(self.stays, left.paths)) < sum(map(self.stays, self.paths)):
            raise GraphError(f"blocks 1 to {self.shared_prefix} are shared with other tasks, and one of them would go")
        return left

    def exclude_self(self, chosen: Iterable[Path]) -> BlockGraph:
        """Self-exclusion: drop the chosen paths."""
        gone = set(chosen)
        return self._only(path for path in self.paths if path not in gone)

    def exclude_unreached(self) -> BlockGraph:
        """Input exclusion: drop every path whose source can't be reached from x_0."""
        reached = nx.descendants(self.graph, 0) | {0}
        return self._only(path for path in self.paths if path.source in reached)

    def exclude_dead_ends(self) -> BlockGraph:
        """Output exclusion: drop every path whose target does not lead to x_L."""
        useful = nx.ancestors(self.graph, self.depth) | {self.depth}
        return self._only(path for path in self.paths if path.target in useful)

    def _only(self, paths: Iterable[Path]) -> BlockGraph:
        result = BlockGraph(self.depth, self.shared_prefix)
        kept = set(paths)
        for path, data in self.edges():
            if path in kept:
                result.add(path, data["gate"], data["macs"], data["params"], data["price"])
        return result

    def to_json(self) -> dict[str, Any]:
        """networkx node-link data with plain values."""
        plain = nx.MultiDiGraph()
        plain.add_nodes_from(self.graph.nodes)
        for path, data in self.edges():
            rest = {name: data[name] for name in ("gate", "macs", "params")}
            plain.add_edge(path.source, path.target, key=path.key, slot=path.slot, form=path.form, **rest)
        return nx.node_link_data(plain, edges="edges")

    @classmethod
    def from_json(cls, data: Any, depth: int) -> BlockGraph:
        """The graph that `to_json` wrote, checked like any file from elsewhere.

        Args:
            data: a `GraphFields`, or a tree of plain values that is held to them.

        Raises:
            GraphError: no node-link data, an unknown node, a cycle, a path that is none of ours, or no way through.
        """
        if not isinstance(data, GraphFields):
            try:
                data = TypeAdapter(GraphFields).validate_json(json.dumps(data), strict=True)
            except ValidationError as error:
                raise GraphError(f"is no node-link graph of paths ({first_error(error)})") from None
        nodes = [node.id for node in data.nodes]
        if strange := [node for node in nodes if not 0 <= node <= depth]:
            raise GraphError(f"has an unknown node {strange[0]!r}; this network's activations are 0 to {depth}")
        if sorted(nodes) != list(range(depth + 1)):
            raise GraphError(f"has not each of the nodes 0 to {depth} once")
        result = cls(depth)
        for edge in data.edges:
            result._add_checked(edge)
        if result.exclude_unreached().exclude_dead_ends().paths != result.paths or not result.paths:
            raise GraphError("has a path that leads nowhere, or no way from the input to the output")
        return result

    def _add_checked(self, edge: EdgeFields) -> None:
        if edge.target <= edge.source:
            raise GraphError(f"has a cycle: {edge.key!r} leads from {edge.source} to {edge.target}; paths lead forward")
        path = Path(edge.target, edge.slot, edge.form)
        fits = path.source == edge.source and path.key == edge.key and path.is_universal == (path.form == UNIVERSAL)
        if not fits or path.target > self.depth:
            raise GraphError(
                f"has an edge {edge.key!r} from {edge.source} to {edge.target} that is no path of a student"
            )
        if self.graph.has_edge(path.source, path.target, path.key):
            raise GraphError(f"has the edge {edge.key!r} twice")
        self.add(path, edge.gate, edge.macs, edge.params)

    def __str__(self) -> str:
        lines = [
            f"{len(self.universal())} universal blocks, {len(self.proxies())} proxies, {self.macs() / 1e6:.2f} M MACs"
        ]
        layers: dict[int, list[str]] = {}
        for path, data in self.edges():
            layers.setdefault(path.target, []).append(f"{path.key} {data['gate']:.2f}")
        lines += [f"  x_{layer:<3} = " + " + ".join(terms) for layer, terms in layers.items()]
        return "\n".join(lines)
