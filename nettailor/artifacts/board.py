"""The board on disk: methods on one task, mean and deviation over seeds, as `board.json`."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import mean, stdev
from typing import ClassVar, Literal

from pydantic.dataclasses import dataclass

from nettailor.artifacts.weight_of_tasks import TasksWeight
from nettailor.schema import RECORD, Record

FORMAT: Literal[1] = 1


@dataclass(config=RECORD)
class Figure:
    """Mean and standard deviation over seeds; the deviation of a single one is 0."""

    mean: float
    std: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Figure:
        """Of some values, at least one."""
        return cls(mean(values), stdev(values) if len(values) > 1 else 0.0)

    def percent(self) -> str:
        """As percent, with the deviation where there is one."""
        return f"{100 * self.mean:.2f}" + (f" ± {100 * self.std:.2f}" if self.std else "")


@dataclass(config=RECORD)
class Row:
    """One method over all seeds. `macs`, `params` and `task_params` are parts of the backbone's.

    `weight` is missing on boards of older versions, and of networks that no run ends with: these have no delta.
    """

    name: str
    seeds: int
    test_accuracy: Figure
    points: Figure
    macs: Figure
    params: Figure
    task_params: Figure
    epochs: Figure
    seconds: Figure
    weight: TasksWeight | None = None


@dataclass(config=RECORD)
class Board(Record):
    """What `board.json` holds; the cells' reports lie beside it."""

    remedy: ClassVar[str] = "is it a board of another version?"

    task: str
    backbone: str
    backbone_macs: int
    backbone_params: int
    train: int
    test: int
    classes: int
    seeds: list[int]
    rows: list[Row]
    format: Literal[1] = FORMAT

    def row(self, name: str) -> Row | None:
        """The row of a method, if it is on the board."""
        return next((row for row in self.rows if row.name == name), None)
