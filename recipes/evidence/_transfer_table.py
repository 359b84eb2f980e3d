"""The cells of the evidence on transfer methods, group by group, in the order in which they are run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from recipes.evidence._transfer_cells import METHOD_OPTIMIZER, SGD, Cell
from recipes.evidence._transfer_rates import GRID, NEW_LR, rate_cells

DEPTHS: dict[str, str | int] = {"new": "new", "top": 16, "top2": 15, "all": "all"}
"""First trained layer, by the name of the depth in the paper: new units alone, the top layer and up, the top two, all."""


def tuned(
    name: str,
    method: str,
    depth: str = "all",
    rate: str = SGD,
    data: str = "gtsrb",
    seeds: int = 3,
    settings: Mapping[str, Any] | None = None,
) -> Cell:
    """A method that trains from a layer up, at the rate of its optimiser."""
    own = {
        "method.optimizer": METHOD_OPTIMIZER[rate],
        "method.new_lr": NEW_LR,
        "method.tune_from": DEPTHS[depth],
    }
    return Cell(f"{name}-{depth}-{rate}", method, {**own, **(settings or {})}, data, rate, seeds)


def groups() -> dict[str, list[Cell]]:
    """All cells by group."""
    return {
        "rates": [cell for optimizer in reversed(GRID) for cell in rate_cells(optimizer).values()],
        "scaling": [tuned("plain", "finetune", depth) for depth in DEPTHS],
    }
