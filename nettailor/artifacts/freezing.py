"""The freezing curve: one method, trained anew from every layer up; `freezing.json`.

runs (one for each first trained layer) -> Freezing.of -> freezing.json -> freezing_table, draw_freezing -> freezing.png
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from nettailor.artifacts.report import Report
from nettailor.schema import RECORD, Record

FORMAT: Literal[1] = 1


@dataclass(config=RECORD)
class FreezingPoint:
    """One run; `tune_from` is the first layer that it trains."""

    tune_from: str
    val_accuracy: float
    test_accuracy: float
    task_params: int
    epochs: float
    seconds: float


@dataclass(config=RECORD)
class Freezing(Record):
    """Accuracy by the first trained layer, from the top of the network down; `chosen` is the best on the validation split."""

    remedy: ClassVar[str] = "is it a freezing curve of another version?"

    task: str
    backbone: str
    method: str
    seed: int
    chosen: str
    points: Annotated[list[FreezingPoint], Field(min_length=1)]
    format: Literal[1] = FORMAT

    @classmethod
    def of(cls, reports: Mapping[str, Report]) -> Freezing:
        """Of finished runs by their first trained layer, from the top down, at least one.

        Of several that are as accurate, the one that trains fewest layers is chosen.
        """
        points = [
            FreezingPoint(
                layer,
                report.compact.val_accuracy,
                report.compact.test_accuracy,
                report.compact.task_params,
                sum(report.epochs.values()),
                sum(report.seconds.values()),
            )
            for layer, report in reports.items()
        ]
        first = next(iter(reports.values()))
        best = max(points, key=lambda point: point.val_accuracy)
        return cls(first.task, first.backbone.name, first.method, first.seed, best.tune_from, points)
