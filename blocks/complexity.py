"""Expected complexity of a student: what it would cost if every path were kept with the probability of its gate.

Both forms take the gate matrix a (L, 1 + k) and the costs C (L, 1 + k) of the paths as fractions of all universal blocks,
and return a differentiable scalar (NetTailor, section 3.3; docs/how_it_works.md).

    paper   sum_e C_e (1 - r_e - prod of r over the paths into e's source - prod of r over the paths out of e's target),
            r = 1 - a. It takes the three exclusions as disjoint, and may go negative.
    exact   sum_e C_e * P(e kept) * P(source reachable from the input) * P(target reaches the output). The three depend on
            different paths, so the product is exact in a graph whose paths all lead forward.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

LARGEST_SWEEP = 10


def expected_paper(gates: Tensor, costs: Tensor) -> Tensor:
    """The paper's form. The ends carry constants: nothing excludes x_0 as a source or x_L as a target."""
    depth, columns = gates.shape
    left_out = 1 - gates
    into = torch.cat([gates.new_zeros(1), left_out.prod(1)])
    out_of = torch.cat([(1 - _reversed(gates)).prod(1).flip(0), gates.new_zeros(1)])
    source, target = _ends(depth, columns, gates.device)
    kept = gates - into[source] - out_of[target]
    return (costs * torch.where(gates > 0, kept, torch.zeros_like(kept))).sum()  # a removed path costs nothing


def expected_exact(gates: Tensor, costs: Tensor) -> Tensor:
    """The exact form. Skips of more than 10 are multiplied as if reachabilities were independent."""
    depth, columns = gates.shape
    from_input, backwards = _reachable(torch.stack([_arrivals(gates), _arrivals(_reversed(gates))]))
    to_output = backwards.flip(0)
    source, target = _ends(depth, columns, gates.device)
    return (costs * gates * from_input[source] * to_output[target]).sum()


FORMS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"paper": expected_paper, "exact": expected_exact}


def is_approximate(form: str, skips: int) -> bool:
    """Whether `exact` falls back to independent reachabilities."""
    return form == "exact" and skips > LARGEST_SWEEP


def _ends(depth: int, columns: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Source and target activation of every place in the gate matrix; absent sources are clamped to 0."""
    target = torch.arange(1, depth + 1, device=device).view(-1, 1).expand(depth, columns)
    step = torch.arange(columns, device=device).clamp(min=1).view(1, -1)
    return (target - step).clamp(min=0), target


def _arrivals(gates: Tensor) -> Tensor:
    """Probability that at least one path from x_(l-j) to x_l is kept, (L, max(k, 1)): column j - 1."""
    direct = gates[:, :1]
    if gates.shape[1] == 1:
        return direct
    first = 1 - (1 - direct) * (1 - gates[:, 1:2])
    return torch.cat([first, gates[:, 2:]], 1)


def _reversed(gates: Tensor) -> Tensor:
    """The gate matrix of the same graph read from the output: layer l becomes activation L - l."""
    depth, columns = gates.shape
    steps = [gates[:, 0].flip(0)]
    for skip in range(1, columns):
        row = gates[skip - 1 :, skip].flip(0)
        steps.append(torch.cat([gates.new_zeros(skip - 1), row])[:depth])
    return torch.stack(steps, 1)


def _reachable(arrivals: Tensor) -> Tensor:
    """Probability that each of x_0..x_L is reached from x_0, (N, L + 1), in N graphs at once: arrivals are (N, L, k).

    A sweep over the joint states of the last k activations: bit j of a state says whether x_(l-1-j) is reached.
    """
    graphs, _, skips = arrivals.shape
    if skips > LARGEST_SWEEP:
        return torch.stack([_reachable_if_independent(graph) for graph in arrivals.unbind(0)])
    states = torch.arange(2**skips, device=arrivals.device)
    bits = ((states.view(-1, 1) >> torch.arange(skips, device=arrivals.device)) & 1).to(arrivals.dtype)
    keep = (2**skips) // 2
    chance = arrivals.new_zeros(graphs, 2**skips)
    chance[:, 1] = 1.0  # before the first layer only x_0 is there, and it is reached
    missed = (1 - bits * arrivals.unsqueeze(2)).prod(3)  # (N, L, states): no kept path from a reached source
    result = [arrivals.new_ones(graphs)]
    for miss in missed.unbind(1):
        off = chance * miss
        both = torch.stack([off, chance - off], 2)  # (N, states, 2): x_l is not reached, or it is
        # a shift by one bit: the oldest activation leaves the window, so the two states that differ in it merge
        chance = (both[:, :keep] + both[:, keep:]).flatten(1)
        result.append(both[:, :, 1].sum(1))
    return torch.stack(result, 1)


def _reachable_if_independent(arrivals: Tensor) -> Tensor:
    result = [arrivals.new_ones(())]
    for layer in range(arrivals.shape[0]):
        ways = [1 - arrivals[layer, j] * result[layer - j] for j in range(min(arrivals.shape[1], layer + 1))]
        result.append(1 - torch.stack(ways).prod())
    return torch.stack(result)
