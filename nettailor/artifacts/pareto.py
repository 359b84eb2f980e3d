"""The front: accuracy against cost, from the whole student down, as JSON, as a table and as a picture.

Pruned.steps -> measure_front -> front.json -> front_table, draw_front -> front.png
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from nettailor.artifacts.report import Report
from nettailor.schema import RECORD, Record

FORMAT: Literal[1] = 1


@dataclass(config=RECORD)
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


@dataclass(config=RECORD)
class Front(Record):
    """Accuracy against cost, the dearest network first."""

    remedy: ClassVar[str] = "is it a front of another version?"

    task: str
    backbone: str
    backbone_macs: int
    backbone_params: int
    seed: int
    teacher_val_accuracy: float
    teacher_test_accuracy: float
    points: Annotated[list[FrontPoint], Field(min_length=1)]
    format: Literal[1] = FORMAT

    def largest_within(self, macs: float) -> FrontPoint | None:
        """The network of most MACs within some MACs, if there is one."""
        return max((point for point in self.points if point.macs <= macs), key=lambda point: point.macs, default=None)

    def leanest_as_accurate(self, val_accuracy: float) -> FrontPoint | None:
        """The network of fewest MACs that is at least so accurate on the validation split, if there is one."""
        good = [point for point in self.points if point.val_accuracy >= val_accuracy]
        return min(good, key=lambda point: point.macs, default=None)


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
    assert teacher is not None, "a curve is a pruned student's"
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
