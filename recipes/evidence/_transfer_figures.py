"""What finished runs ended with, read from where they were trained or from where they are published.

folder/DATA/CELL/seed-0/report.json    every run
                       /source.json    where source or probe pictures were named
                       /confusion.json which class was taken for which
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nettailor.artifacts.confusion import Confusion
from nettailor.artifacts.report import Report
from nettailor.errors import FileError
from nettailor.files import read_json
from recipes.evidence._transfer_cells import Cell

REPORT, BESIDE, CONFUSION = "report.json", "source.json", "confusion.json"


@dataclass(frozen=True)
class Runs:
    """The finished runs of a folder."""

    folder: Path
    _read: dict[Path, Any] = field(default_factory=dict, repr=False, compare=False)

    def seeds(self, cell: Cell) -> list[int]:
        """The seeds of a cell that are finished."""
        return [seed for seed in range(cell.seeds) if cell.folder(self.folder, seed).report.is_file()]

    def report(self, cell: Cell, seed: int) -> Report:
        """The figures of a finished run."""
        return self._once(cell.folder(self.folder, seed).report, Report.read)

    def tree(self, cell: Cell, seed: int) -> dict[str, Any]:
        """The same as plain values."""
        return read_json(cell.folder(self.folder, seed).report)

    def beside(self, cell: Cell, seed: int) -> dict[str, Any]:
        """What it measured on source and probe pictures.

        Raises:
            FileError: it has no such record.
        """
        return self._once(cell.folder(self.folder, seed).root / BESIDE, read_json)

    def confusion(self, cell: Cell, seed: int) -> Confusion:
        """Which class it took for which."""
        return self._once(cell.folder(self.folder, seed).root / CONFUSION, Confusion.read)

    def _once(self, path: Path, read: Callable[[Path], Any]) -> Any:
        if path not in self._read:
            self._read[path] = read(path)
        return self._read[path]


@dataclass(frozen=True)
class Metric:
    """One figure of a run.

    Attributes:
        heading: of its column.
        read: the figure of a finished run; None where the run has none, as a bound that it never reached.
        files: beside report.json, that are published for it.
    """

    heading: str
    read: Callable[[Runs, Cell, int], float | None]
    files: tuple[str, ...] = ()


@dataclass(frozen=True)
class BestOf:
    """Several cells of which the validation split chooses one, seed by seed."""

    name: str
    cells: tuple[Cell, ...]


def one_cell(of: Cell | BestOf, runs: Runs, seed: int) -> Cell | None:
    """The cell itself, or the one that is most accurate on validation, the first of equal ones; None if not finished."""
    cells = of.cells if isinstance(of, BestOf) else (of,)
    if any(seed not in runs.seeds(cell) for cell in cells):
        return None
    return max(cells, key=lambda cell: runs.report(cell, seed).compact.val_accuracy)


def figure(metric: Metric, of: Cell | BestOf, runs: Runs, seed: int) -> float | None:
    """A figure of a seed; None where that is not finished or has no such figure."""
    cell = one_cell(of, runs, seed)
    return None if cell is None else metric.read(runs, cell, seed)


def _test(runs: Runs, cell: Cell, seed: int) -> float:
    return 100 * runs.report(cell, seed).compact.test_accuracy


def _macs(runs: Runs, cell: Cell, seed: int) -> float:
    report = runs.report(cell, seed)
    return 100 * report.compact.macs / report.backbone.macs


def _student(runs: Runs, cell: Cell, seed: int) -> float | None:
    student = runs.report(cell, seed).student
    return None if student is None else 100 * student.test_accuracy


def _teacher(runs: Runs, cell: Cell, seed: int) -> float | None:
    teacher = runs.report(cell, seed).teacher
    return None if teacher is None else 100 * teacher.test_accuracy


def _mean_recall(runs: Runs, cell: Cell, seed: int) -> float | None:
    recall = runs.report(cell, seed).compact.balanced_accuracy
    return None if recall is None else 100 * recall


def _source(runs: Runs, cell: Cell, seed: int) -> float | None:
    """By the source's old classifier, trained along or not; of a grown network by one that learned the source afterwards."""
    grown = (runs.tree(cell, seed).get("grown") or {}).get("forgetting")
    return _after(runs, cell, seed, "source") if grown is None else 100 * float(grown["accuracy"])


def _probe(runs: Runs, cell: Cell, seed: int) -> float | None:
    return _after(runs, cell, seed, "probe")


def _after(runs: Runs, cell: Cell, seed: int, section: str) -> float | None:
    found = runs.beside(cell, seed)[section]
    return None if found is None else 100 * float(found["accuracy_after"])


TEST = Metric("test accuracy %", _test)
MACS = Metric("MACs %", _macs)
STUDENT = Metric("unpruned student %", _student)
TEACHER = Metric("its teacher %", _teacher)
MEAN_RECALL = Metric("mean recall %", _mean_recall)
SOURCE = Metric("source accuracy %", _source, (BESIDE,))
PROBE = Metric("probe accuracy %", _probe, (BESIDE,))


def recall_of(name: str) -> Metric:
    """Part of a class's test pictures that is right."""

    def read(runs: Runs, cell: Cell, seed: int) -> float:
        found = runs.confusion(cell, seed)
        row = found.classes.index(name)
        return 100 * found.counts[row][row] / sum(found.counts[row])

    return Metric(f"recall of class {name} %", read, (CONFUSION,))


def until_as_good_as(*plain_cells: Cell) -> tuple[Metric, Metric, Metric]:
    """Passes, pictures (source's and target's) and seconds until validation is as good as plain fine-tuning's at its end.

    The bound is that of the same data and seed. A run that never reaches it has no such figure. Seconds are the training's
    own, by the clock.
    """
    by_data = {cell.data: cell for cell in plain_cells}

    def reached(runs: Runs, cell: Cell, seed: int) -> dict[str, Any] | None:
        plain = by_data[cell.data]
        if seed not in runs.seeds(plain):
            return None
        bound = _passes(runs, plain, seed)[-1]["val_accuracy"]
        return next((one for one in _passes(runs, cell, seed) if one["val_accuracy"] >= bound), None)

    def passes(runs: Runs, cell: Cell, seed: int) -> float | None:
        found = reached(runs, cell, seed)
        return None if found is None else float(found["number"])

    def pictures(runs: Runs, cell: Cell, seed: int) -> float | None:
        found = reached(runs, cell, seed)
        if found is None:
            return None
        return float(found["number"] * runs.report(cell, seed).data.train + found["source_pictures"])

    def seconds(runs: Runs, cell: Cell, seed: int) -> float | None:
        found = reached(runs, cell, seed)
        return None if found is None else float(found["seconds"])

    files = (BESIDE,)
    return (
        Metric("passes to it", passes, files),
        Metric("pictures to it", pictures, files),
        Metric("seconds to it", seconds, files),
    )


def _passes(runs: Runs, cell: Cell, seed: int) -> Sequence[dict[str, Any]]:
    """What was measured after every pass.

    Raises:
        FileError: nothing was.
    """
    found = [one for one in runs.beside(cell, seed)["passes"] if one["val_accuracy"] is not None]
    if not found:
        raise FileError(cell.folder(runs.folder, seed).root / BESIDE, "has no validation accuracy of any pass")
    return found
