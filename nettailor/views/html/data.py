"""What the page shows, as plain values: a tree of dataclasses that becomes the JSON inside the page.

Accuracies and gates are fractions, MACs are of one picture, parameters are elements; None is "not known", and the page then
leaves the figure out.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field

Shape = tuple[int, int, int]


@dataclass(frozen=True)
class BlockData:
    """One universal block of the backbone: its name in the model, its output (C, H, W), and what it costs there."""

    name: str
    shape: Shape
    macs: int
    params: int


@dataclass(frozen=True)
class BackboneData:
    """The backbone that all networks of the page are over. `stem_shape` is that of x_0."""

    name: str
    macs: int
    params: int
    input_size: int
    stem_macs: int
    stem_shape: Shape
    blocks: list[BlockData]


@dataclass(frozen=True)
class PathData:
    """One kept path, from activation `source` to layer `target`.

    Attributes:
        shared: elements that it reads of the backbone; 0 for proxies, and for blocks that are the task's own copies.
        own: elements that only this task needs.
    """

    key: str
    source: int
    target: int
    form: str
    gate: float
    macs: int
    shared: int
    own: int


@dataclass(frozen=True)
class GraphData:
    """The kept graph. `copied_from`: from this layer on (0 the stem, l block l) blocks are the task's own copies, and not the
    shared ones; None where none is.

    `depth` is the last layer: less than the backbone's in a shallower cut. `top` says what the head is made of where it is
    more than a classifier, and `top_reads` which activations it then reads.
    """

    depth: int
    copied_from: int | None
    paths: list[PathData]
    stem_own: int
    head_macs: int
    head_own: int
    top: str = ""
    top_reads: list[int] = field(default_factory=list)


@dataclass(frozen=True)
class FiguresData:
    """The figures of one network; without a report only those that its delta tells."""

    macs: int
    params: int
    task_params: int
    task_bytes: int
    blocks: int
    proxies: int
    test_accuracy: float | None = None
    teacher_accuracy: float | None = None
    balanced_accuracy: float | None = None
    test_pictures: int | None = None
    latency_ms: float | None = None
    teacher_latency_ms: float | None = None


@dataclass(frozen=True)
class PointData:
    """One network of a curve. `recovered`: its accuracy on the validation split after recovery, where that was tried."""

    macs: int
    blocks: int
    proxies: int
    val: float
    test: float | None = None
    task_params: int | None = None
    recovered: float | None = None
    chosen: bool = False


@dataclass(frozen=True)
class FrontData:
    """Accuracy against MACs, the leanest network first. `source` names the file that it was read from."""

    source: str
    teacher_val: float | None
    points: list[PointData]


@dataclass(frozen=True)
class ConfusionData:
    """A confusion matrix without its zeros: `cells` holds (class, class that it was taken for, pictures), by number."""

    classes: list[str]
    cells: list[tuple[int, int, int]]


@dataclass(frozen=True)
class MistakeData:
    """A wrongly classified picture of the test split, as a data: URI."""

    name: str
    true: str
    given: str
    picture: str


@dataclass(frozen=True)
class TaskData:
    """One network of the page. Where a part of it is missing, its `*_note` says why in a plain line.

    Attributes:
        label: distinct on the page.
        prune_command: makes another size of this run; None where the run keeps no student.
    """

    label: str
    task: str
    method: str
    seed: int | None
    classes: int
    graph: GraphData
    figures: FiguresData
    front: FrontData | None = None
    front_note: str = ""
    prune_command: str | None = None
    confusion: ConfusionData | None = None
    confusion_note: str = ""
    mistakes: list[MistakeData] = field(default_factory=list)
    mistakes_note: str = ""


@dataclass(frozen=True)
class SharedData:
    """What several networks share, in bytes of float32 and of files.

    Attributes:
        backbone: of the whole backbone.
        union: of those parts of the backbone that at least one of them reads.
        deltas: of all deltas together.
        private: of all networks as private, folded copies; None where a report does not say.
    """

    backbone: int
    union: int
    deltas: int
    private: int | None


@dataclass(frozen=True)
class PageData:
    """All that the page shows. `shared` is None for a single network."""

    version: str
    backbone: BackboneData
    tasks: list[TaskData]
    shared: SharedData | None = None

    def to_json(self) -> str:
        """JSON that can stand inside a script element: no character of it can end the element or begin a comment."""
        text = json.dumps(asdict(self), ensure_ascii=True, allow_nan=False, separators=(",", ":"))
        return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
