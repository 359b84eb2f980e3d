"""A study's cells as rows: seeds of one choice together, and one factor at a time.

CellFigures ... -> groups -> Group (mean and deviation over seeds) -> study_table
                -> levels(factor) -> mean over all cells with each value
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from rich.markup import escape as as_text
from rich.table import Table

from nettailor.artifacts.board import Figure
from nettailor.artifacts.study import CellFigures, Value
from nettailor.training.layer_change import LayerChange

SEED, METHOD = "seed", "method"
ABSENT = "-"


@dataclass(frozen=True)
class Group:
    """Cells that differ in nothing but the seed.

    Attributes:
        factors: those that more than one value of the study is of, seeds aside; the method is always among them.
    """

    factors: dict[str, Value]
    cells: list[CellFigures]

    def figure(self, read: Callable[[CellFigures], float | None]) -> Figure | None:
        """Mean and deviation over the cells that have a figure."""
        values = [value for cell in self.cells if (value := read(cell)) is not None]
        return Figure.of(values) if values else None

    @property
    def label(self) -> str:
        """Its factors in a few words."""
        return ", ".join(_named(name, value) for name, value in self.factors.items() if value is not None)

    def layers(self) -> list[LayerChange]:
        """Each layer's mean over the cells; a figure that one of them lacks is None."""
        by_layer: dict[int, list[LayerChange]] = {}
        for cell in self.cells:
            for change in cell.layers:
                by_layer.setdefault(change.layer, []).append(change)
        return [
            LayerChange(
                layer,
                found[0].name,
                _mean(change.weights for change in found),
                _mean(change.cosine for change in found),
                _mean(change.cka for change in found),
                _mean(change.zeros_before for change in found),
                _mean(change.zeros_after for change in found),
            )
            for layer, found in sorted(by_layer.items())
        ]


def _named(name: str, value: Value) -> str:
    return str(value) if name == METHOD else f"{name} {_short(value)}"


def _short(value: Value) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _mean(values: Iterable[float | None]) -> float | None:
    found = list(values)
    there = [value for value in found if value is not None]
    return sum(there) / len(there) if found and len(there) == len(found) else None


def varying(cells: Sequence[CellFigures], axes: Sequence[str]) -> list[str]:
    """The factors that have more than one value, in the study's order, seeds aside."""
    found = [name for name in axes if name not in (SEED, METHOD)]
    return [name for name in found if len({cell.factors.get(name) for cell in cells if not cell.baseline}) > 1]


def groups(cells: Sequence[CellFigures], axes: Sequence[str]) -> list[Group]:
    """Cells of one choice together, in their order; each has its method and the factors that vary."""
    names = varying(cells, axes)
    made: dict[tuple[Value, ...], Group] = {}
    for cell in cells:
        method = cell.factors.get(METHOD) or cell.method
        factors = {METHOD: method, **{name: cell.factors.get(name) for name in names}}
        made.setdefault(tuple(factors.values()), Group(factors, [])).cells.append(cell)
    return list(made.values())


def levels(cells: Sequence[CellFigures], factor: str) -> list[Group]:
    """Cells of one value of a factor together, whatever else they are; baselines are left out."""
    made: dict[Value, Group] = {}
    for cell in cells:
        value = cell.seed if factor == SEED else cell.factors.get(factor)
        if value is not None and not cell.baseline:
            made.setdefault(value, Group({factor: value}, [])).cells.append(cell)
    found = list(made.values())
    numbers = all(isinstance(value, int | float) for value in made)
    return sorted(found, key=lambda group: float(group.factors[factor] or 0)) if numbers else found


HEADINGS = ("seeds", "test %", "val %", "over probe", "over scratch", "passes", "seconds")
"""Columns behind the factors."""


def row_of(group: Group) -> list[str]:
    """What stands under `HEADINGS`."""
    test, val = group.figure(lambda cell: cell.test_accuracy), group.figure(lambda cell: cell.val_accuracy)
    passes, seconds = group.figure(lambda cell: cell.epochs), group.figure(lambda cell: cell.seconds)
    assert test is not None
    assert val is not None
    assert passes is not None
    assert seconds is not None
    return [
        str(len(group.cells)),
        test.percent(),
        val.percent(),
        points(group.figure(lambda cell: cell.over_probe)),
        points(group.figure(lambda cell: cell.over_scratch)),
        f"{passes.mean:g}",
        f"{seconds.mean:.0f}",
    ]


def points(figure: Figure | None) -> str:
    """Points with their deviation, where there is one."""
    if figure is None:
        return ABSENT
    return f"{figure.mean:+.2f}" + (f" ± {figure.std:.2f}" if figure.std else "")


def study_table(study: str, cells: Sequence[CellFigures], axes: Sequence[str]) -> Table:
    """One row for each choice, with mean and deviation over its seeds."""
    table = Table(title=f"{study}: {len(cells)} cells", title_justify="left", caption_justify="left")
    found = groups(cells, axes)
    for name in found[0].factors if found else ():
        table.add_column(as_text(name))
    for name in HEADINGS:
        table.add_column(name, justify="right")
    for group in found:
        factors = (ABSENT if value is None else _short(value) for value in group.factors.values())
        table.add_row(*(as_text(value) for value in factors), *row_of(group))
    table.caption = "over probe, over scratch: points of test accuracy above linear and scratch on the same pictures"
    return table
