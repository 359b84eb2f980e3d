"""What a delta's `task.json` may contain: one schema that all of it is held to before anything is built.

    task.json -> read_json (size, depth, finite numbers) -> its format's schema -> Description

Format 2 is written; format 1 (nettailor 0.1.0) is read. Types are those of JSON itself: a gate of "0.5", a list of MACs or a
class that is a number are refused. What the numbers mean is checked against the backbone later, by `delta.load`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, field, fields
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, ConfigDict, Field
from pydantic.dataclasses import dataclass as schema

from blocks import NetPlan
from blocks import Path as NetPath
from blocks.assembly import HeadKind, PrefixError
from blocks.norms import BatchNormPolicy
from blocks.proxies import FORMS
from blocks.top import TOPS, Top
from nettailor.config.library import OLD_METHOD_NAMES, method_names
from nettailor.data.task import check_name
from nettailor.errors import DataError, FileError, VersionError, did_you_mean
from nettailor.files import read_json
from nettailor.pruning.graph import BlockGraph, GraphError, GraphFields
from nettailor.schema import Channels, Interpolation, PositiveChannels, checked

FORMAT: Literal[2] = 2
DESCRIPTION, TENSORS, CARD = "task.json", "task.safetensors", "README.md"
MOST_BYTES = 32 * 2**20
"""The largest `task.json` that is read: 100,000 classes with names of 300 bytes fit."""

STRICT = ConfigDict(extra="forbid", allow_inf_nan=False)
Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


def _distinct(classes: list[str]) -> list[str]:
    if len(set(classes)) < len(classes):
        twice = Counter(classes).most_common(1)[0][0]
        raise ValueError(f"{twice[:80]!r} stands there twice")
    return classes


def _task_name(name: str) -> str:
    try:
        return check_name(name)
    except DataError:
        raise ValueError(f"{name[:80]!r} is no name for a task") from None


Classes = Annotated[list[str], Field(min_length=2), AfterValidator(_distinct)]
TaskName = Annotated[str, AfterValidator(_task_name)]


@schema(config=STRICT, frozen=True)
class InputFields:
    """The pictures that the network reads."""

    size: Annotated[int, Field(ge=8, le=4096)]
    mean: Channels
    std: PositiveChannels
    interpolation: Interpolation = "bilinear"
    crop: Annotated[float, Field(gt=0, le=1)] = 1.0


@schema(config=STRICT, frozen=True)
class BackboneFields:
    """Which backbone the delta belongs to: how to name it, and the hashes of it (`nettailor.backbones.hashes`).

    `sha256` is that of the tensors that tasks share. `geometry_sha256` is missing in format 1. `classifier_sha256` is that of
    the source classifier; a network whose top reads it is held to it.
    """

    name: str
    sha256: Sha256
    geometry_sha256: Sha256 | None = None
    classifier_sha256: Sha256 | None = None


@schema(config=STRICT, frozen=True)
class PlanFields:
    """How the network is put together beside its graph (`blocks.assembly.NetPlan`). `depth` is the last layer."""

    depth: Annotated[int, Field(ge=1)]
    batch_norm: BatchNormPolicy
    rank: Annotated[int, Field(ge=0, le=1024)] = 0
    adapters: bool = False
    copied: bool = False
    head: HeadKind = "backbone"
    gated: bool = True
    widths: dict[str, list[int]] = field(default_factory=dict)
    shared_prefix: Annotated[int, Field(ge=0)] = 0
    tuned_from: Annotated[int, Field(ge=0)] = 0
    top: dict[str, Any] | None = None

    def as_tree(self) -> dict[str, Any]:
        """As it is written: without what a network does not have, as before there was any of it."""
        tree = asdict(self)
        for key in OPTIONAL:
            if not tree[key]:
                del tree[key]
        return tree


OPTIONAL = ("widths", "shared_prefix", "tuned_from", "top")
"""What a plan leaves out where there is none of it."""


def read_top(tree: dict[str, Any], path: Path) -> Top:
    """A top as a plan describes it: its kind, and the fields of that kind.

    Raises:
        VersionError: there is no such kind or part.
        FileError: a field of it is wrong.
    """
    own = dict(tree)
    kind = own.pop("kind", None)
    top = TOPS.get(kind) if isinstance(kind, str) else None
    if top is None:
        known = ", ".join(sorted(TOPS))
        raise VersionError(path, f"plan.top.kind: is {repr(kind)[:40]}, this nettailor knows {known or 'none'}")
    made = checked(top, own, path, strict=True)
    if strange := _unknown(own, asdict(made)):
        raise VersionError(path, f"plan.top.{strange}: this nettailor knows no such part of a {kind} top")
    return made


def _unknown(tree: Any, known: Any, place: str = "") -> str | None:
    """The first key of a tree that a record read from it does not have: `steps.0.gate`."""
    if isinstance(tree, dict) and isinstance(known, dict):
        pairs = [(str(key), value, known.get(key)) for key, value in tree.items()]
        if strange := [key for key, _, _ in pairs if key not in known]:
            return f"{place}{strange[0][:40]}"
    elif isinstance(tree, list) and isinstance(known, list | tuple):
        pairs = [(str(number), *both) for number, both in enumerate(zip(tree, known, strict=True))]
    else:
        return None
    return next(filter(None, (_unknown(value, own, f"{place}{key}.") for key, value, own in pairs)), None)


def read_plan(plan: PlanFields, graph: GraphFields, classes: int, path: Path) -> NetPlan:
    """How a network is put together.

    Args:
        classes: number of its logits.
        path: of the file that says so, for the error.

    Raises:
        FileError: the graph is none of a network of this depth or with this shared prefix, or has a form of proxy that is
            not known.
    """
    fields = asdict(plan)
    top = None if plan.top is None else read_top(fields.pop("top"), path)
    fields.pop("top", None)
    widths = tuple((name, tuple(width)) for name, width in sorted(fields.pop("widths").items()))
    try:
        paths = BlockGraph.from_json(graph, fields.pop("depth")).paths
    except GraphError as error:
        raise FileError(path, f"graph: {error}") from error
    for kept in paths:
        if not kept.is_universal and kept.form not in FORMS:
            known = f"it is code to import: allow it with --proxies {kept.form}" if ":" in kept.form else ""
            raise FileError(path, f"graph: {kept.key} is a {kept.form!r}; {known or 'there are ' + ', '.join(FORMS)}")
    try:
        return NetPlan(tuple(paths), classes, widths=widths, top=top, **fields)
    except PrefixError as error:
        raise FileError(path, f"plan.shared_prefix: {error}; get the file anew") from error
    except ValueError as error:
        raise FileError(path, f"plan.tuned_from: {error}; get the file anew") from error


@schema(config=STRICT, frozen=True)
class Description:
    """What `task.json` holds."""

    format: Literal[2]
    task: TaskName
    classes: Classes
    input: InputFields
    backbone: BackboneFields
    plan: PlanFields
    graph: GraphFields
    method: str
    tensors_sha256: Sha256
    settings: dict[str, Any] = field(default_factory=dict)

    @property
    def says_all(self) -> bool:
        """Whether everything that `load` checks is said: not in format 1, which knew no geometry and no plan."""
        return self.backbone.geometry_sha256 is not None

    def net_plan(self, path: Path) -> NetPlan:
        """How the network is put together; see `read_plan`."""
        return read_plan(self.plan, self.graph, len(self.classes), path)

    def gates(self) -> dict[NetPath, float]:
        """The weight of every path, as the graph says it."""
        return {NetPath(edge.target, edge.slot, edge.form): edge.gate for edge in self.graph.edges}


@schema(config=STRICT, frozen=True)
class BackboneFields1:
    """Format 1 knew the hash of the tensors alone."""

    name: str
    sha256: Sha256


@schema(config=STRICT, frozen=True)
class Description1:
    """What `task.json` held in format 1: norm policy and rank beside the graph, and every network a student's."""

    format: Literal[1]
    task: TaskName
    classes: Classes
    input: InputFields
    backbone: BackboneFields1
    batch_norm: BatchNormPolicy
    graph: GraphFields
    method: str
    tensors_sha256: Sha256
    rank: Annotated[int, Field(ge=0, le=1024)] = 0
    settings: dict[str, Any] = field(default_factory=dict)

    def updated(self) -> Description:
        """The same in format 2; the geometry of the backbone stays unknown."""
        plan = PlanFields(len(self.graph.nodes) - 1, self.batch_norm, self.rank)
        return Description(
            format=FORMAT,
            task=self.task,
            classes=self.classes,
            input=self.input,
            backbone=BackboneFields(self.backbone.name, self.backbone.sha256),
            plan=plan,
            graph=self.graph,
            method=self.method,
            tensors_sha256=self.tensors_sha256,
            settings=self.settings,
        )


def read_description(folder: Path) -> Description:
    """Read `task.json` and hold it to its format's schema; the graph is checked against the backbone later.

    Raises:
        VersionError: its format, its method or a part of its plan is none that this version knows.
        FileError: the file is missing, too large, no JSON, or a field of it is wrong.
    """
    path = folder / DESCRIPTION
    tree = read_json(path, MOST_BYTES)
    if not isinstance(tree, dict):
        raise FileError(path, "is no description of a task")
    number = tree.get("format")
    read = READERS.get(number) if type(number) is int else None
    if read is None:
        known = " and ".join(map(str, READERS))
        raise VersionError(path, f"format: is {repr(number)[:40]}, this nettailor reads {known}")
    description = read(tree, path)
    check_method(description.method, path)
    return description


def check_method(name: str, path: Path) -> None:
    """Refuse a method that this version doesn't have.

    Raises:
        VersionError: that it is none.
    """
    if name not in (known := [*OLD_METHOD_NAMES, *method_names()]):
        hint = did_you_mean(name, known)
        raise VersionError(path, f"method: this nettailor has no method {name[:40]!r}{hint}")


def _unknown_parts(tree: dict[str, Any]) -> str | None:
    """The first key of a plan that `PlanFields` does not have."""
    plan, known = tree.get("plan"), {entry.name for entry in fields(PlanFields)}  # type: ignore[arg-type]
    return next((str(key)[:40] for key in plan if key not in known), None) if isinstance(plan, dict) else None


def _read_2(tree: Any, path: Path) -> Description:
    if strange := _unknown_parts(tree):
        raise VersionError(path, f"plan.{strange}: this nettailor knows no such part of a plan")
    description = checked(Description, tree, path, strict=True)
    if description.backbone.geometry_sha256 is None:
        raise FileError(path, "backbone.geometry_sha256: is missing; get the file anew")
    return description


READERS: dict[int, Callable[[Any, Path], Description]] = {
    1: lambda tree, path: checked(Description1, tree, path, strict=True).updated(),
    2: _read_2,
}
