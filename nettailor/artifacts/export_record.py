"""What was exported from a delta, and how it was proven: `export.json`, one entry for each file.

exported file, its figures -> ExportedFile -> ExportRecord -> export.json, export_table, the model card's section
"""

from __future__ import annotations

from dataclasses import field, replace
from typing import ClassVar, Literal

from pydantic.dataclasses import dataclass

from nettailor.environment import versions
from nettailor.schema import RECORD, Record

FORMAT: Literal[1] = 1
NAME = "export.json"


@dataclass(config=RECORD)
class Parity:
    """A file's answers in its own runtime beside the compact net's.

    Attributes:
        of: which pictures: test, val, train, all, or uncut.
        largest_difference: between logits; None where a logit was not finite, or of another shape.
        same_top1: the part of the pictures with the same class.
        disagreements: pictures with another class although the net's two best logits are further apart than rounding.
    """

    of: str
    pictures: int
    largest_difference: float | None
    same_top1: float
    disagreements: int = 0


@dataclass(config=RECORD)
class ExportLatency:
    """Median milliseconds of a batch of one, and of the backbone's own export, taken in turns in the same runtime.

    The backbone is folded and in float32, has as many classes, and the same preprocessing. `low` and `high` are the ends of
    the 95 % interval of `ratio`, the file's median over the backbone's.
    """

    ms: float
    backbone_ms: float
    ratio: float
    low: float
    high: float
    rounds: int
    threads: int


@dataclass(config=RECORD)
class Int8Figures:
    """What int8 costs: accuracies are fractions, of the file and of the compact net in float32, on the same pictures."""

    calibrated_on: int
    drop_allowed: float
    drop: float
    val: int
    val_accuracy: float
    val_accuracy_float32: float
    test: int
    test_accuracy: float
    test_accuracy_float32: float


@dataclass(config=RECORD)
class ExportedFile:
    """One exported network.

    Attributes:
        file: where it lies, as seen from `export.json` where it is below that folder.
        task, backbone, backbone_sha256, delta_sha256: what was exported; the last is `tensors_sha256` of its `task.json`.
        to: the format.
        runtime: what ran it, with its version.
        preprocessing: inside the graph.
        any_size: whether it takes pictures of any size.
        any_batch: whether it takes batches of any size.
        bytes: of all its files together.
        params: elements of the folded network.
        sha256: of `file`.
        parity: on pictures of the input's size; int8 is not held to it.
        uncut: on pictures as they lie on disk, where the file cuts them.
    """

    file: str
    task: str
    backbone: str
    backbone_sha256: str
    delta_sha256: str
    to: str
    runtime: str
    precision: Literal["float32", "int8"]
    preprocessing: bool
    any_size: bool
    any_batch: bool
    bytes: int
    params: int
    macs: int
    backbone_macs: int
    sha256: str
    parity: Parity
    latency: ExportLatency
    uncut: Parity | None = None
    int8: Int8Figures | None = None


@dataclass(config=RECORD)
class ExportRecord(Record):
    """What `export.json` holds."""

    remedy: ClassVar[str] = "is it a record of exports of another version?"

    files: list[ExportedFile] = field(default_factory=list)
    versions: dict[str, str] = field(default_factory=lambda: versions())
    format: Literal[1] = FORMAT

    def with_file(self, new: ExportedFile) -> ExportRecord:
        """The same with one more file, which takes the place of an older one of its name."""
        others = [known for known in self.files if known.file != new.file]
        return replace(self, files=sorted([*others, new], key=lambda known: known.file), versions=versions())

    def of(self, delta_sha256: str) -> list[ExportedFile]:
        """The files that were exported from one delta."""
        return [known for known in self.files if known.delta_sha256 == delta_sha256]
