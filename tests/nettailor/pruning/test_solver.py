"""The budget's program against trying every sub-network, on random graphs; and importances against the plain way."""

from __future__ import annotations

import itertools
import random
import time
from contextlib import suppress

import pytest
from scipy.optimize import milp

from blocks import Path
from nettailor.pruning import solver
from nettailor.pruning.graph import BlockGraph, GraphError
from nettailor.pruning.solver import LOOK_AHEAD, Option, cheapest, options_from_paths, smaller, within_budget


def random_graph(depth: int, skips: int, draws: random.Random, dense: float = 0.8) -> BlockGraph:
    graph = BlockGraph(depth)
    for layer in range(1, depth + 1):
        graph.add(Path(layer, 0, "universal"), draws.random(), 100 + draws.randrange(50), 1)
        for slot in range(1, min(skips, layer) + 1):
            if draws.random() < dense:
                graph.add(Path(layer, slot, "conv1x1"), draws.random(), 10 + draws.randrange(20), 1)
    return graph


def holds_together(graph: BlockGraph) -> bool:
    return bool(graph.paths) and graph.exclude_unreached().exclude_dead_ends().paths == graph.paths


def best_by_enumeration(graph: BlockGraph, losses: dict[tuple[int, frozenset[Path]], float], budget: float) -> float:
    best = float("inf")
    for count in range(1, len(graph.paths) + 1):
        for kept in itertools.combinations(graph.paths, count):
            smaller = graph.exclude_self(path for path in graph.paths if path not in kept)
            if smaller.price() <= budget and holds_together(smaller):
                best = min(best, total(smaller, losses))
    return best


def total(graph: BlockGraph, losses: dict[tuple[int, frozenset[Path]], float]) -> float:
    kept = {layer: frozenset(p for p in graph.paths if p.target == layer) for layer in range(1, graph.depth + 1)}
    return sum(losses[layer, paths] for layer, paths in kept.items())


@pytest.mark.parametrize("seed", range(25))
def test_the_program_finds_the_best_network_there_is(seed: int) -> None:
    draws = random.Random(seed)
    graph = random_graph(draws.randrange(2, 5), draws.randrange(0, 3), draws)
    options = [
        Option(option.layer, option.kept, draws.uniform(-0.2, 1.0))
        for option in options_from_paths(graph, dict.fromkeys(graph.paths, 0.0))
    ]
    losses = {(option.layer, option.kept): option.loss for option in options}
    budget = graph.price() * draws.uniform(0.1, 0.9)
    best = best_by_enumeration(graph, losses, budget)
    if best == float("inf"):
        with pytest.raises(GraphError, match="the cheapest network that holds together costs"):
            within_budget(graph, options, budget)
        return
    found = within_budget(graph, options, budget)
    assert holds_together(found)
    assert found.price() <= budget
    assert total(found, losses) == pytest.approx(best, abs=2e-4)


def test_losses_of_paths_add_up_and_equal_losses_take_the_cheaper() -> None:
    graph = random_graph(3, 2, random.Random(1), dense=1.0)
    options = options_from_paths(graph, {path: float(path.is_universal) for path in graph.paths})
    whole = next(o for o in options if o.layer == 3 and len(o.kept) == 3)
    none = next(o for o in options if o.layer == 3 and not o.kept)
    assert (whole.loss, none.loss) == (0.0, 1.0)
    found = within_budget(graph, options, graph.price())
    assert found.universal() == found.paths, "proxies that nobody needs are not kept, even where there is room"


def test_a_round_keeps_the_ways_around_blocks_that_later_rounds_need() -> None:
    """Proxies lose next to nothing, so that a look at one round alone takes them all and is stuck with every block."""
    graph = random_graph(8, 3, random.Random(2), dense=1.0)
    losses = {path: 1.0 if path.is_universal else 0.01 for path in graph.paths}
    ends = []
    for step in (smaller, lambda graph, options, part: within_budget(graph, options, part * graph.price())):
        left = graph
        while True:
            try:
                after = step(left, options_from_paths(left, losses), 0.8)
            except GraphError:
                break
            assert holds_together(after)
            assert after.price() <= 0.8 * left.price()
            left = after
        ends.append(left.price() / graph.price())
    assert ends[0] < 0.2
    assert ends[1] > 2 * ends[0]


def test_a_round_does_not_undercut_the_goal() -> None:
    graph = random_graph(8, 3, random.Random(2), dense=1.0)
    options = options_from_paths(graph, {path: path.source / 10 for path in graph.paths})
    goal = 0.7 * graph.price()
    assert 0.9 * goal < smaller(graph, options, 0.1, goal).price() <= goal


@pytest.mark.parametrize("part", [0.02, 0.3, 0.5, 0.8])
def test_a_round_is_what_trying_every_look_ahead_gives_in_three_programs(
    part: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    graph = random_graph(6, 2, random.Random(4), dense=1.0)
    options = options_from_paths(graph, {path: path.source / 10 for path in graph.paths})
    expected = None
    for ahead in LOOK_AHEAD:
        with suppress(GraphError):
            far = within_budget(graph, options, part**ahead * graph.price())
            expected = within_budget(graph, options, part * graph.price(), far.paths)
            break
    solved = []
    monkeypatch.setattr(solver, "milp", lambda *given, **named: solved.append(1) or milp(*given, **named))
    assert (expected is None) == (part == 0.02)
    if expected is None:
        with pytest.raises(GraphError, match="the cheapest network that holds together costs"):
            smaller(graph, options, part)
        assert len(solved) == 1
    else:
        assert smaller(graph, options, part).paths == expected.paths
        assert len(solved) <= 3


@pytest.mark.parametrize("seed", range(6))
def test_rounds_come_down_to_the_goal_however_short_they_are(seed: int) -> None:
    """Which paths lose little changes from round to round: what a goal needs must not go for being worth little now."""
    draws = random.Random(seed)
    graph = random_graph(8, 3, draws)
    goal = 1.05 * cheapest(graph).price()
    while graph.price() > goal:
        options = options_from_paths(graph, {path: draws.random() for path in graph.paths})
        graph = smaller(graph, options, 0.95, goal)
        assert cheapest(graph).price() <= goal


def test_a_round_may_end_at_the_cheapest_network_and_no_lower() -> None:
    graph = random_graph(6, 2, random.Random(4), dense=1.0)
    options = options_from_paths(graph, {path: path.source / 10 for path in graph.paths})
    bottom = cheapest(graph).price()
    assert (
        smaller(graph, options, 0.001, bottom).price()
        == smaller(graph, options, 0.001, bottom, bottom).price()
        == bottom
    )
    with pytest.raises(GraphError, match=f"the cheapest network that holds together costs {bottom:.4g}"):
        smaller(graph, options, 0.001, bottom - 1, bottom)


def test_fifty_blocks_are_chosen_in_seconds() -> None:
    draws = random.Random(0)
    graph = random_graph(50, 5, draws)
    options = options_from_paths(graph, {path: draws.random() for path in graph.paths})
    start = time.perf_counter()
    found = within_budget(graph, options, 0.4 * graph.price())
    assert time.perf_counter() - start < 20
    assert 0.3 * graph.price() < found.price() <= 0.4 * graph.price()
    assert holds_together(found)
