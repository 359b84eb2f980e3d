"""What a run measured beside its own task: how well it still knows the source, and tells new classes apart.

Discrimination, before the first step and after every pass -> SourceRecord -> source.json; its ends are in report.json
"""

from __future__ import annotations

from dataclasses import field
from typing import ClassVar, Literal

from pydantic.dataclasses import dataclass

from nettailor.schema import RECORD, Record

FORMAT: Literal[1] = 1


@dataclass(config=RECORD)
class SourceFigures:
    """The source pictures of a run, and the accuracy on all that were held out, before the first step and at the end.

    Attributes:
        held_out_as: the data's own split that these are; train for a part of it.
        crop: part of the shorter side that is kept.
        head: kept, the backbone's own classifier; or new, fitted to frozen features.
        told_by: how the head's rows were found: names, order, or fitted.
        accuracy_before, accuracy_after: of the network as it is, whose norms have the target's statistics at the end.
        own_norms_before, own_norms_after: with statistics of source pictures in the norms that train.
        pictures_read: in training, a picture once for every time.
    """

    data: str
    classes: int
    train: int
    held_out: int
    held_out_as: str
    crop: float
    head: Literal["kept", "new"]
    told_by: Literal["names", "order", "fitted"]
    accuracy_before: float
    accuracy_after: float
    own_norms_before: float
    own_norms_after: float
    pictures_read: int = 0


@dataclass(config=RECORD)
class ProbeFigures:
    """The probe of general discrimination: k-nearest-neighbour accuracy by the cosine of h, before and at the end."""

    data: str
    classes: int
    gallery: int
    queries: int
    neighbours: int
    accuracy_before: float
    accuracy_after: float


@dataclass(config=RECORD)
class PassFigures:
    """A moment of the training: before the first step (pass 0), or after a pass.

    Attributes:
        val_accuracy: of the target; None before the first step.
        source_accuracy: on a sample of the held-out pictures (`source.measured_on`).
        source_weight: lambda at the first step of the next pass.
        source_pictures: read in training so far.
        seconds: of the stage so far, without these measurements.
    """

    number: int
    val_accuracy: float | None = None
    source_accuracy: float | None = None
    probe_accuracy: float | None = None
    source_weight: float | None = None
    source_pictures: int = 0
    seconds: float = 0.0


@dataclass(config=RECORD)
class SourceRecord(Record):
    """What `source.json` holds."""

    remedy: ClassVar[str] = "is it a record of another version?"

    task: str
    method: str
    seed: int
    source: SourceFigures | None
    probe: ProbeFigures | None
    passes: list[PassFigures] = field(default_factory=list)
    format: Literal[1] = FORMAT
