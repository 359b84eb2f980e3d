"""The front: accuracy against cost, from the whole student down, as JSON, as a table and as a picture.

Pruned.steps -> measure_front -> front.json -> front_table, draw_front -> front.png
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass
from rich.table import Table

from blocks import TailoredNet, compact
from nettailor.checkpoint import restore
from nettailor.fit import accuracy
from nettailor.plots import Curve, draw_curves
from nettailor.pruning import Pruned, snapshot
from nettailor.records import read_record, write_record
from nettailor.report import Report
from nettailor.task import Task

FORMAT: Literal[1] = 1
STRICT = ConfigDict(extra="forbid")


@dataclass(config=STRICT)
class FrontPoint:
    """One network of the curve; `chosen` is the one in the delta, measured after its recovery."""

    macs: int
    params: int
    task_params: int
    universal_blocks: int
    proxies: int
    val_accuracy: float
    test_accuracy: float
    chosen: bool = False


@dataclass(config=STRICT)
class Front:
    """Accuracy against cost, the dearest network first."""

    task: str
    backbone: str
    backbone_macs: int
    backbone_params: int
    seed: int
    teacher_val_accuracy: float
    teacher_test_accuracy: float
    points: Annotated[list[FrontPoint], Field(min_length=1)]
    format: Literal[1] = FORMAT

    def write(self, path: Path) -> None:
        """Write it atomically; `format` comes first."""
        write_record(self, path)

    @classmethod
    def read(cls, path: Path) -> Front:
        """Read and check a front.

        Raises:
            FileProblem: no such file, or not this schema.
        """
        return read_record(cls, path, "is it a front of another version?")


def measure_front(student: TailoredNet, pruned: Pruned, task: Task) -> list[FrontPoint]:
    """Count every network that pruning passed, and read the test split once for each; the student is left as it was."""
    before = snapshot(student)
    points = []
    for tensors in pruned.steps:
        restore(student.task_tensors(), tensors, "student")
        points.append(_point(student, task))
    restore(student.task_tensors(), before, "student")
    return points


def front_of(report: Report, points: list[FrontPoint]) -> Front:
    """The curve of a run: its steps, and its compact net in the place of the step that it came from."""
    net = report.compact
    chosen = FrontPoint(
        macs=net.macs,
        params=net.params,
        task_params=net.task_params,
        universal_blocks=net.universal_blocks_kept,
        proxies=net.proxies_kept,
        val_accuracy=net.val_accuracy,
        test_accuracy=net.test_accuracy,
        chosen=True,
    )
    others = [point for point in points if (point.macs, point.params) != (net.macs, net.params)]
    teacher, backbone = report.teacher, report.backbone
    return Front(
        task=report.task,
        backbone=backbone.name,
        backbone_macs=backbone.macs,
        backbone_params=backbone.params,
        seed=report.seed,
        teacher_val_accuracy=teacher.val_accuracy,
        teacher_test_accuracy=teacher.test_accuracy,
        points=sorted([*others, chosen], key=lambda point: -point.macs),
    )


def front_table(front: Front) -> Table:
    """One row per network, the dearest first."""
    title = f"{front.task} over {front.backbone}: teacher {front.teacher_test_accuracy:.2%} on test"
    table = Table(title=title, title_justify="left", caption="* the chosen network", caption_justify="left")
    for heading in ("", "M MACs", "of backbone", "params", "task params", "blocks", "proxies", "val", "test", "points"):
        table.add_column(heading, justify="right")
    for point in front.points:
        table.add_row(
            "*" if point.chosen else "",
            f"{point.macs / 1e6:.2f}",
            f"{point.macs / front.backbone_macs:.0%}",
            f"{point.params:,}",
            f"{point.task_params / front.backbone_params:.1%}",
            str(point.universal_blocks),
            str(point.proxies),
            f"{point.val_accuracy:.2%}",
            f"{point.test_accuracy:.2%}",
            f"{100 * (point.test_accuracy - front.teacher_test_accuracy):+.2f}",
        )
    return table


def draw_front(front: Front, path: Path) -> None:
    """Test accuracy against the part of the backbone's MACs, as a PNG."""
    xs = [point.macs / front.backbone_macs for point in front.points]
    curve = Curve("networks on the way down", xs, [point.test_accuracy for point in front.points], "o-")
    chosen = [(x, point.test_accuracy) for x, point in zip(xs, front.points, strict=True) if point.chosen]
    marked = Curve("chosen, recovered", [x for x, _ in chosen], [y for _, y in chosen], "*")
    draw_curves(path, f"{front.task} over {front.backbone}", [curve, marked], {"teacher": front.teacher_test_accuracy})


def _point(student: TailoredNet, task: Task) -> FrontPoint:
    net = compact(student)
    cost = net.cost()
    blocks = sum(path.is_universal for path in net.paths)
    return FrontPoint(
        macs=cost.macs,
        params=cost.params,
        task_params=sum(tensor.numel() for tensor in net.task_tensors().values()),
        universal_blocks=blocks,
        proxies=len(net.paths) - blocks,
        val_accuracy=accuracy(student, task.val),
        test_accuracy=accuracy(student, task.test),
    )
