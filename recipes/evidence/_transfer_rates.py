"""The learning rate of each optimiser: chosen once, on validation, for plain fine-tuning of the whole net, and held.

runs of `RATES` -> report.compact.val_accuracy -> the best rate, the lower of two that are equal
"""

from __future__ import annotations

from pathlib import Path

from nettailor.artifacts.report import Report
from recipes.evidence._transfer_cells import ADAMW, METHOD_OPTIMIZER, SGD, Cell

GRID = {ADAMW: (1.6e-2, 8e-3, 4e-3, 2e-3, 1e-3, 5e-4), SGD: (0.2, 0.1, 0.05, 0.02, 0.01, 0.005)}
NEW_LR = 10


def rate_cells(optimizer: str) -> dict[float, Cell]:
    """The runs among which a rate is chosen."""
    found = {}
    for rate in GRID[optimizer]:
        settings = {
            "method.optimizer": METHOD_OPTIMIZER[optimizer],
            "method.new_lr": NEW_LR,
            "teacher.lr": rate,
        }
        found[rate] = Cell(f"rate-{optimizer}-{rate:g}", "finetune", settings, rate=None, seeds=1)
    return found


def chosen_rates(out: Path) -> dict[str, float]:
    """The rates of the optimisers all of whose runs are finished."""
    found = {}
    for optimizer in GRID:
        files = {rate: cell.folder(out, 0).report for rate, cell in rate_cells(optimizer).items()}
        if all(file.is_file() for file in files.values()):
            found[optimizer] = best({rate: Report.read(file).compact.val_accuracy for rate, file in files.items()})
    return found


def best(accuracies: dict[float, float]) -> float:
    """The rate of the highest accuracy; of equal ones the lowest."""
    return max(accuracies, key=lambda rate: (accuracies[rate], -rate))


def all_rate_cells() -> list[Cell]:
    """The runs of every optimiser, in the order in which they are run."""
    return [cell for optimizer in (SGD, ADAMW) for cell in rate_cells(optimizer).values()]
