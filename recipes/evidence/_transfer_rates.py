"""The learning rate of each optimiser: chosen once, on validation, for plain fine-tuning of the whole net, and held.

runs of `RATES` -> report.compact.val_accuracy -> the lowest rate within one standard error of the best (`within_one_error`)
"""

from __future__ import annotations

from collections.abc import Mapping
from math import sqrt
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


def chosen_rates(*folders: Path) -> dict[str, float]:
    """The rates of the optimisers all of whose runs are finished in one of these folders, the first that has them."""
    found: dict[str, float] = {}
    for folder in folders:
        for optimizer in GRID:
            files = {rate: cell.folder(folder, 0).report for rate, cell in rate_cells(optimizer).items()}
            if optimizer not in found and all(file.is_file() for file in files.values()):
                found[optimizer] = within_one_error({rate: Report.read(file) for rate, file in files.items()})
    return found


def within_one_error(reports: Mapping[float, Report]) -> float:
    """The lowest rate that validation can't tell from the best: at most one standard error below it.

    Breiman et al. 1984, section 3.4.3, of the mildest setting in place of the smallest tree; the error is the binomial one
    of the best run's accuracy on its validation pictures.
    """
    top = max(reports.values(), key=lambda report: report.compact.val_accuracy)
    accuracy = top.compact.val_accuracy
    least = accuracy - sqrt(accuracy * (1 - accuracy) / top.data.val)
    return min(rate for rate, report in reports.items() if report.compact.val_accuracy >= least)


def all_rate_cells() -> list[Cell]:
    """The runs of every optimiser, in the order in which they are run."""
    return [cell for optimizer in (SGD, ADAMW) for cell in rate_cells(optimizer).values()]
