"""Expected complexity against enumeration of all sub-networks, simulation, and the paper's formula written out."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from blocks import expected_exact, expected_paper
from blocks.complexity import is_approximate
from blocks.paths import slots

GRAPHS = [(4, 1), (4, 2), (4, 3), (5, 2), (3, 3), (2, 5), (6, 0)]


def random_graph(depth: int, skips: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    present = slots(depth, skips)
    gates = torch.rand(depth, skips + 1, generator=generator, dtype=torch.double) * present
    return gates, torch.rand(depth, skips + 1, generator=generator, dtype=torch.double) * present


def ends(depth: int, skips: int) -> list[tuple[int, int, int, int]]:
    """Source, target, row and column of every path."""
    return [(t - max(1, s), t, t - 1, s) for t in range(1, depth + 1) for s in range(skips + 1) if s <= t]


def alive_cost(kept: list[tuple[int, int, int, int]], depth: int, costs: Tensor) -> float:
    """Cost of the kept paths whose source is reachable and whose target reaches the output."""
    reached, useful = {0}, {depth}
    for layer in range(1, depth + 1):
        if any(t == layer and s in reached for s, t, _, _ in kept):
            reached.add(layer)
    for layer in range(depth - 1, -1, -1):
        if any(s == layer and t in useful for s, t, _, _ in kept):
            useful.add(layer)
    return sum(float(costs[i, j]) for s, t, i, j in kept if s in reached and t in useful)


@pytest.mark.parametrize(("depth", "skips"), GRAPHS)
def test_exact_equals_enumeration(depth: int, skips: int) -> None:
    gates, costs = random_graph(depth, skips)
    paths = ends(depth, skips)
    expected = 0.0
    for choice in itertools.product((False, True), repeat=len(paths)):
        chance = 1.0
        for (_, _, i, j), kept in zip(paths, choice, strict=True):
            chance *= float(gates[i, j]) if kept else 1 - float(gates[i, j])
        expected += chance * alive_cost([p for p, kept in zip(paths, choice, strict=True) if kept], depth, costs)
    assert float(expected_exact(gates, costs)) == pytest.approx(expected, abs=1e-9)


def test_exact_agrees_with_simulation_on_a_deep_graph() -> None:
    gates, costs = random_graph(14, 5, seed=1)
    gates = gates.sqrt()
    generator = torch.Generator().manual_seed(2)
    paths = ends(14, 5)
    draws = [
        alive_cost(
            [p for p in paths if float(torch.rand((), generator=generator)) < float(gates[p[2], p[3]])], 14, costs
        )
        for _ in range(2000)
    ]
    sample = torch.tensor(draws, dtype=torch.double)
    error = float(sample.std() / 2000**0.5)
    assert abs(float(expected_exact(gates, costs)) - float(sample.mean())) < 4 * error


@pytest.mark.parametrize("seed", range(20))
def test_exact_stays_between_nothing_and_everything_and_can_be_differentiated(seed: int) -> None:
    gates, costs = random_graph(8, 3, seed)
    gates.requires_grad_(True)
    value = expected_exact(gates, costs)
    value.backward()
    assert 0 <= float(value.detach()) <= float(costs.sum())
    assert gates.grad is not None
    assert torch.isfinite(gates.grad).all()


def test_exact_of_open_gates_is_the_whole_cost() -> None:
    _, costs = random_graph(6, 3)
    assert float(expected_exact(slots(6, 3).double(), costs)) == pytest.approx(float(costs.sum()))


@pytest.mark.parametrize(("depth", "skips"), GRAPHS)
def test_paper_equals_its_formula_written_out(depth: int, skips: int) -> None:
    gates, costs = random_graph(depth, skips)
    paths = ends(depth, skips)
    expected = 0.0
    for source, target, i, j in paths:
        into = [1 - float(gates[a, b]) for _, t, a, b in paths if t == source]
        out_of = [1 - float(gates[a, b]) for s, _, a, b in paths if s == target]
        excluded = 1 - float(gates[i, j])
        excluded += torch.tensor(into).prod().item() if into else 0.0
        excluded += torch.tensor(out_of).prod().item() if out_of else 0.0
        expected += float(costs[i, j]) * (1 - excluded)
    assert float(expected_paper(gates, costs)) == pytest.approx(expected, abs=1e-6)


def test_paper_may_go_negative_where_exact_does_not() -> None:
    gates, costs = random_graph(8, 2)
    assert float(expected_paper(gates * 0.05, costs)) < 0 <= float(expected_exact(gates * 0.05, costs))


def test_long_skips_fall_back_to_independence_and_say_so() -> None:
    gates, costs = random_graph(14, 11)
    assert is_approximate("exact", 11)
    assert not is_approximate("exact", 10)
    assert not is_approximate("paper", 11)
    assert 0 <= float(expected_exact(gates, costs)) <= float(costs.sum())
    assert float(expected_exact(slots(14, 11).double(), costs)) == pytest.approx(float(costs.sum()))


@pytest.mark.slow
@pytest.mark.alone
def test_it_is_a_small_part_of_a_training_step_of_fifty_blocks() -> None:
    """50 residual blocks of CIFAR's size, 5 skips, a batch of 64: at most 2 % of the step, forward and backward."""
    from timm.models.resnet import BasicBlock, ResNet

    from blocks import Backbone, InputSpec, Plan, TailoredNet
    from nettailor.training.config import StudentConfig
    from nettailor.training.losses import backward
    from tests.tiny import live_in

    model = ResNet(BasicBlock, layers=(12, 13, 13, 12), channels=(16, 16, 32, 64))
    model.conv1, model.maxpool = nn.Conv2d(3, 64, 3, padding=1, bias=False), nn.Identity()  # as for CIFAR
    backbone = Backbone(live_in(model, 32), InputSpec(32, (0.5,) * 3, (0.5,) * 3), "fifty")
    assert backbone.depth == 50
    student = TailoredNet(backbone, 10, Plan(5)).train()
    x, labels = torch.randn(64, 3, 32, 32), torch.randint(10, (64,))
    costs = student.cost_matrix
    for form, expected in (("exact", expected_exact), ("paper", expected_paper)):
        choice = StudentConfig(matching_weight=0.0, distill_weight=0.0, complexity_weight=0.0)
        whole = median(lambda choice=choice: backward(student, None, x, labels, choice), 3)
        part = median(lambda expected=expected: expected(student.gates(), costs).backward(), 20)
        assert part <= 0.02 * whole, f"{form}: {1000 * part:.1f} ms of {1000 * whole:.0f} ms"


def median(run: Callable[[], object], times: int) -> float:
    taken = []
    for _ in range(times + 1):
        start = time.perf_counter()
        run()
        taken.append(time.perf_counter() - start)
    return sorted(taken[1:])[times // 2]
