"""What a run wrote down, as the page shows it: its figures, its curve, its confusion matrix.

Report -> figures_data        Front, or a report's trials -> front_data        Confusion -> confusion_data
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass as schema

from nettailor.artifacts.confusion import Confusion
from nettailor.artifacts.pareto import Front
from nettailor.artifacts.report import Report
from nettailor.schema import checked
from nettailor.views.html.data import ConfusionData, FiguresData, FrontData, PointData

LOOSE = ConfigDict(extra="ignore", allow_inf_nan=False)
Accuracy = Annotated[float, Field(ge=0, le=1)]


@schema(config=LOOSE, frozen=True)
class TrialFields:
    """What the page reads of one trial of a report (`nettailor.pruning.prune.Trial`); its MACs are those of its paths."""

    paths: list[str]
    macs: Annotated[int, Field(ge=0)]
    val_accuracy: Accuracy


@schema(config=LOOSE, frozen=True)
class RecoveredFields:
    """What the page reads of one recovery of a report: MACs of the paths, accuracy on validation after it."""

    macs: Annotated[int, Field(ge=0)]
    after: Accuracy


def figures_data(report: Report) -> FiguresData:
    """The figures of a finished run."""
    net, teacher = report.compact, report.teacher
    return FiguresData(
        macs=net.macs,
        params=net.params,
        task_params=net.task_params,
        task_bytes=net.task_bytes,
        blocks=net.universal_blocks_kept,
        proxies=net.proxies_kept,
        test_accuracy=net.test_accuracy,
        teacher_accuracy=None if teacher is None else teacher.test_accuracy,
        balanced_accuracy=net.balanced_accuracy,
        test_pictures=report.data.test,
        latency_ms=net.latency_ms,
        teacher_latency_ms=None if teacher is None else teacher.latency_ms,
    )


def front_data(report: Report, path: Path, front: Front | None, ends: int) -> FrontData | None:
    """A run's measured curve; else the networks that its pruning tried; None where there are not two of them.

    Args:
        path: of the report, for the error.
        front: the measured curve, where the run has one.
        ends: MACs of stem and head, which trials leave out.

    Raises:
        FileError: a trial of the report is none.
    """
    recovered = {row.macs + ends: row.after for row in _recovered(report, path)}
    if front is not None:
        points = [
            PointData(
                macs=point.macs,
                blocks=point.universal_blocks,
                proxies=point.proxies,
                val=point.val_accuracy,
                test=point.test_accuracy,
                task_params=point.task_params,
                recovered=None if point.chosen else recovered.get(point.macs),
                chosen=point.chosen,
            )
            for point in front.points
        ]
        source = "front.json"
    else:
        points = _from_trials(report, path, ends, recovered)
        source = "report.json"
    teacher_val = None if report.teacher is None else report.teacher.val_accuracy
    if len(points) < 2:
        return None
    return FrontData(source, teacher_val, sorted(points, key=lambda point: point.macs))


def confusion_data(confusion: Confusion) -> ConfusionData:
    """The cells of a confusion matrix that are not empty."""
    cells = [
        (true, given, count)
        for true, row in enumerate(confusion.counts)
        for given, count in enumerate(row)
        if count > 0
    ]
    return ConfusionData(confusion.classes, cells)


def _from_trials(report: Report, path: Path, ends: int, recovered: dict[int, float]) -> list[PointData]:
    net = report.compact
    chosen = PointData(
        macs=net.macs,
        blocks=net.universal_blocks_kept,
        proxies=net.proxies_kept,
        val=net.val_accuracy,
        test=net.test_accuracy,
        task_params=net.task_params,
        chosen=True,
    )
    trials = [] if report.prune is None else [_as(TrialFields, "trials", tree, path) for tree in report.prune.trials]
    points = {net.macs: chosen}
    for trial in trials:
        blocks = sum(key.startswith("G") for key in trial.paths)
        macs = trial.macs + ends
        point = PointData(macs, blocks, len(trial.paths) - blocks, trial.val_accuracy, recovered=recovered.get(macs))
        points.setdefault(macs, point)
    return list(points.values())


def _recovered(report: Report, path: Path) -> list[RecoveredFields]:
    return [] if report.prune is None else [_as(RecoveredFields, "recovered", t, path) for t in report.prune.recovered]


def _as(kind: type[Any], name: str, tree: dict[str, Any], path: Path) -> Any:
    return checked(kind, tree, path, f"it is in prune.{name}")
