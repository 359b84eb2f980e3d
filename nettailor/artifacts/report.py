"""The figures of a run: one schema for every method, so that tables, boards and scripts can read them.

Accuracies are fractions, MACs are of one picture, params count every floating-point tensor that the network needs, and
`removed` gives fractions of the backbone's. What is chosen is chosen on the validation split; the three test accuracies
are read once, at the end. A balanced accuracy is the mean over the classes, on the test split.
"""

from __future__ import annotations

from dataclasses import field
from typing import Any, ClassVar, Literal

from pydantic.dataclasses import dataclass

from nettailor.artifacts.grown_record import GrownFigures
from nettailor.artifacts.source_record import ProbeFigures, SourceFigures
from nettailor.environment import versions
from nettailor.schema import RECORD, Record

FORMAT: Literal[1] = 1


@dataclass(config=RECORD)
class BackboneFigures:
    """The shared backbone, its source classifier left out."""

    name: str
    sha256: str
    macs: int
    params: int
    universal_blocks: int


@dataclass(config=RECORD)
class DataFigures:
    """Pictures in each split, number of classes, side of the input in pixels, hash of names, labels and pixels."""

    train: int
    val: int
    test: int
    classes: int
    input_size: int
    sha256: str


@dataclass(config=RECORD)
class TeacherFigures:
    """What the network learned from, folded when it is timed, as the compact net is (`blocks.latency`).

    Attributes:
        method: that trained it.
        run: where it was trained, if not in this run; its passes and seconds are then in that report.
        gives: what was taken of it: `start` (the student begins as it), `activations`, `answers`, and `drop`: what the net
            may lose is counted against it. Reports of older versions don't say.
        task_params: of all, those that only this task needs.
    """

    test_accuracy: float
    val_accuracy: float
    macs: int
    params: int
    latency_ms: float
    latency_packed_ms: float | None = None
    balanced_accuracy: float | None = None
    method: str = "finetune"
    run: str | None = None
    gives: list[str] | None = None
    task_params: int | None = None

    @property
    def own_params(self) -> int:
        """Those that only this task needs: all, where the report does not say."""
        return self.params if self.task_params is None else self.task_params

    @property
    def called(self) -> str:
        """A heading of its column, which names the method where it is not fine-tuning."""
        return "teacher" if self.method == "finetune" else f"teacher ({self.method})"


@dataclass(config=RECORD)
class StudentFigures:
    """The student before pruning. With skips of more than 10 its exact complexity is approximate (`blocks.complexity`)."""

    test_accuracy: float
    val_accuracy: float
    expected_complexity: float
    complexity_is_approximate: bool = False
    macs: int = 0
    params: int = 0
    task_params: int = 0


@dataclass(config=RECORD)
class CompactFigures:
    """The compact net on disk; its milliseconds are those of the folded net, and of the folded and packed one.

    `private_params` are the elements of the folded net, which shares nothing; `shared_params` those that the compact net
    reads of the backbone, part by part (`stem`, `G3`, `head`). Reports of older versions have neither.
    """

    test_accuracy: float
    val_accuracy: float
    macs: int
    params: int
    task_params: int
    task_bytes: int
    latency_ms: float
    universal_blocks_kept: int
    proxies_kept: int
    latency_packed_ms: float | None = None
    balanced_accuracy: float | None = None
    private_params: int | None = None
    shared_params: dict[str, int] | None = None


@dataclass(config=RECORD)
class RemovedFigures:
    """What the compact net does without, as a fraction of the backbone's: 1 - compact / backbone."""

    macs: float
    params: float
    universal_blocks: float


@dataclass(config=RECORD)
class DropFigures:
    """What the compact net loses against its teacher, in points of accuracy on the pictures that it was chosen by.

    Attributes:
        points: teacher minus net, picture by picture.
        error: standard error; low and high are the ends of the 95 % interval.
        can_tell: whether these pictures can tell the allowed drop from none.
        folds: of training and validation pictures together that it was judged over, by networks of this architecture that
            had not seen them; 0 where it is of this network on the validation pictures.
    """

    points: float
    error: float
    low: float
    high: float
    pictures: int
    can_tell: bool
    folds: int = 0


@dataclass(config=RECORD)
class PruneFigures:
    """How the compact net was chosen, on the validation split: all networks on the way, and those that were recovered."""

    how: str
    drop_allowed: float
    within_drop: bool
    trials: list[dict[str, Any]]
    cost: str = "macs"
    recovered: list[dict[str, Any]] = field(default_factory=list)
    drop: DropFigures | None = None


@dataclass(config=RECORD)
class Report(Record):
    """What `report.json` holds. A run that needs no teacher, trains no student or prunes nothing has no figures of them.

    `seconds` and `epochs` (passes over the training pictures) are by stage. Seconds add up to the run's own time: `prepare`
    is what came before the first stage, `measure` what came after the last. `importance` counts pictures that were only run
    forward to find the importance of paths, in training sets; its time is in `prune`. `source` and `probe` are there where
    the recipe names such pictures, `grown` where the network has new units.
    """

    remedy: ClassVar[str] = "is it a report of another version?"

    task: str
    method: str
    backbone: BackboneFigures
    data: DataFigures
    seed: int
    teacher: TeacherFigures | None
    student: StudentFigures | None
    compact: CompactFigures
    removed: RemovedFigures
    prune: PruneFigures | None
    seconds: dict[str, float]
    device: str
    epochs: dict[str, float] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=lambda: versions())
    source: SourceFigures | None = None
    probe: ProbeFigures | None = None
    grown: GrownFigures | None = None
    format: Literal[1] = FORMAT
