"""Which paths to keep under a budget: one choice of paths for every layer, the least loss in all.

    options per layer, each with its loss -> mixed-integer program (scipy.optimize.milp) -> BlockGraph

    minimise    sum over layers of loss(layer, the paths kept into it)
    subject to  one option per layer;  price of all kept paths <= budget;
                a kept path's source is alive, and so is its target
                an activation is alive only if a kept path leads into it (x_0 excepted) and one leads out (x_L excepted)

All paths lead forward, so what is alive by these rules is reachable from the input and leads to the output. Losses of
single paths, such as one minus their gates, are the case in which a layer's loss is the sum over the paths it does without.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from scipy.optimize import Bounds, LinearConstraint, milp

from blocks import Path
from nettailor.pruning.graph import BlockGraph, GraphError

TIME_LIMIT = 30.0  # seconds; the programs of a CNN of some fifty blocks take well under one
LOOK_AHEAD = (8, 4, 2, 1)  # rounds
CHEAPER = 1e-4  # of the largest loss: where losses are as good as equal, the cheaper network


@dataclass(frozen=True)
class Option:
    """One way to leave a layer: the paths kept into it, and what that loses; no paths means that the layer goes."""

    layer: int
    kept: frozenset[Path]
    loss: float


def layer_options(graph: BlockGraph) -> dict[int, list[frozenset[Path]]]:
    """The options of each layer: all its paths, every other set of them, and none. A layer of the shared prefix stays whole.

    Layers with more than four paths are offered all of them, all but one, the block with one proxy, one alone, and none.
    """
    found = {}
    for layer, paths in _by_target(graph).items():
        if layer <= graph.shared_prefix:
            found[layer] = [frozenset(paths)]
            continue
        if len(paths) <= 4:
            sets = [frozenset(some) for count in range(len(paths), 0, -1) for some in combinations(paths, count)]
        else:
            block, proxies = paths[:1], paths[1:]
            sets = [frozenset(paths), *(frozenset(paths) - {path} for path in paths)]
            sets += [frozenset([*block, proxy]) for proxy in proxies] + [frozenset([path]) for path in paths]
        found[layer] = [*dict.fromkeys(sets), frozenset()]
    return found


def options_from_paths(graph: BlockGraph, importance: dict[Path, float]) -> list[Option]:
    """Options whose loss is the importance of the paths that go."""
    paths = _by_target(graph)
    return [
        Option(layer, kept, sum(importance[path] for path in paths[layer] if path not in kept))
        for layer, sets in layer_options(graph).items()
        for kept in sets
    ]


def within_budget(
    graph: BlockGraph, options: Sequence[Option], budget: float, keep: Collection[Path] = ()
) -> BlockGraph:
    """The sub-graph of least loss whose paths cost at most `budget`, in the unit of the graph's prices.

    Args:
        keep: paths that must stay.

    Raises:
        GraphError: no network that holds together is that cheap; the message gives the cheapest there is.
    """
    found = _solve(graph, options, budget, keep)
    if found is None:
        least = _cheapest(graph, [(option.layer, option.kept) for option in options], keep)
        raise _too_cheap(budget, least.price() if least else None)
    return found


def cheapest(graph: BlockGraph) -> BlockGraph:
    """The sub-graph that costs least and holds together, whatever it loses."""
    sets = [(layer, kept) for layer, several in layer_options(graph).items() for kept in several]
    found = _cheapest(graph, sets)
    assert found is not None, "the graph itself holds together"
    return found


def _cheapest(
    graph: BlockGraph, sets: Sequence[tuple[int, frozenset[Path]]], keep: Collection[Path] = ()
) -> BlockGraph | None:
    return _solve(graph, [Option(layer, kept, _price(graph, kept)) for layer, kept in sets], np.inf, keep)


def smaller(
    graph: BlockGraph, options: Sequence[Option], part: float, least: float = 0.0, bottom: float | None = None
) -> BlockGraph:
    """The network that one round leaves: about `part` of what removable paths cost, and able to become much cheaper still.

    Proxies lose little and would all go first, and with them every way around the blocks. So what the best network of
    `part`**8 of the price keeps stays, or of `part`**4, and so on, where none is that cheap; or what the best network of
    `least` keeps, so that it stays within reach.

    Args:
        least: a price that need not be undercut, and that later rounds are to come down to; 0: none.
        bottom: the price of the `cheapest` network, where it is known; of what costs less, nothing is looked for.

    Raises:
        GraphError: no network that holds together is that cheap.
    """
    fixed = graph.fixed_price()
    spare = graph.price() - fixed
    bottom = cheapest(graph).price() if bottom is None else bottom
    budgets = [max(least, fixed + spare * part**ahead) for ahead in LOOK_AHEAD]
    if least:
        budgets = [least, *budgets]
    reached = [budget for budget in budgets if budget >= bottom]
    if not reached:
        raise _too_cheap(budgets[-1], bottom)
    far = within_budget(graph, options, reached[0])
    return far if len(reached) == 1 else within_budget(graph, options, budgets[-1], far.paths)


def _too_cheap(budget: float, bottom: float | None) -> GraphError:
    ending = "" if bottom is None else f"; the cheapest network that holds together costs {bottom:.4g}"
    return GraphError(f"no network of these paths costs at most {budget:.4g}{ending}")


def _solve(graph: BlockGraph, options: Sequence[Option], budget: float, keep: Collection[Path]) -> BlockGraph | None:
    """The program itself. Variables: one per option, then one per activation (alive or not)."""
    count, nodes = len(options), graph.depth + 1
    prices = np.array([_price(graph, option.kept) for option in options])
    losses = np.array([option.loss for option in options])
    slope = CHEAPER * max(1e-12, float(np.abs(losses).max())) / max(1e-12, float(prices.sum()))
    rows: list[np.ndarray] = []
    lower: list[float] = []
    upper: list[float] = []

    def constrain(row: np.ndarray, low: float, high: float) -> None:
        rows.append(row)
        lower.append(low)
        upper.append(high)

    def row(chosen: Iterable[int] = (), node: int | None = None, sign: float = -1.0) -> np.ndarray:
        result = np.zeros(count + nodes)
        result[list(chosen)] = 1.0
        if node is not None:
            result[count + node] = sign
        return result

    for layer in range(1, nodes):
        here = [i for i, option in enumerate(options) if option.layer == layer]
        if here:
            constrain(row(here), 1, 1)
        filled = [i for i in here if options[i].kept]
        constrain(row(filled, layer), 0, 0)  # alive just where something is kept into it
    for path in graph.paths:
        keeping = [i for i, option in enumerate(options) if path in option.kept]
        constrain(row(keeping, path.source), -np.inf, 0)  # what is kept reads something alive
        if path in keep:
            constrain(row(keeping), 1, 1)
    for node in range(nodes - 1):
        leaving = [i for i, option in enumerate(options) if any(path.source == node for path in option.kept)]
        constrain(row(leaving, node), 0, np.inf)  # what is alive is read
    if np.isfinite(budget):
        constrain(np.concatenate([prices, np.zeros(nodes)]), -np.inf, budget)
    low = np.zeros(count + nodes)
    low[[count, count + nodes - 1]] = 1  # x_0 and x_L
    solution = milp(
        np.concatenate([losses + slope * prices, np.zeros(nodes)]),
        integrality=np.ones(count + nodes),
        bounds=Bounds(low, np.ones(count + nodes)),
        constraints=LinearConstraint(np.array(rows), lower, upper),
        options={"time_limit": TIME_LIMIT, "mip_rel_gap": 0.0},
    )
    if solution.x is None:
        return None
    kept = {path for i, option in enumerate(options) if solution.x[i] > 0.5 for path in option.kept}
    return graph.exclude_self(path for path in graph.paths if path not in kept)


def _price(graph: BlockGraph, kept: Iterable[Path]) -> float:
    return float(sum(graph.data(path)["price"] for path in kept))


def _by_target(graph: BlockGraph) -> dict[int, list[Path]]:
    found: dict[int, list[Path]] = {}
    for path in graph.paths:
        found.setdefault(path.target, []).append(path)
    return found
