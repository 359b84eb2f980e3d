"""The delta: everything that one task adds to the backbone, in three files.

    task/task.json            what the network is: classes, input, backbone and its hash, kept graph, settings
    task/task.safetensors     every tensor that the task owns, and nothing else
    task/README.md            a card for people

`save` and `load` are inverse: the same builder makes the network, so the loaded one gives the same bits. Nothing is
unpickled, nothing named in the files is imported, and everything is checked: backbone and tensors are held to their hashes.
"""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass as schema

from blocks import Backbone, CompactNet, InputSpec, NetPlan
from blocks.assembly import HeadKind
from blocks.norms import BatchNormPolicy
from blocks.proxies import FORMS
from nettailor.backbones.load import fingerprint, load_backbone
from nettailor.data.task import check_name
from nettailor.errors import FileError
from nettailor.files import read_json, read_tensors, write_json, write_tensors, write_text
from nettailor.pruning.graph import BlockGraph, GraphError
from nettailor.schema import Channels, Interpolation, PositiveChannels, checked
from nettailor.training.checkpoint import restore

FORMAT: Literal[2] = 2
READABLE = (1, 2)
DESCRIPTION, TENSORS, CARD = "task.json", "task.safetensors", "README.md"
STRICT = ConfigDict(extra="forbid", allow_inf_nan=False)


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
    """Which backbone the delta belongs to: how to name it, and the hash of its tensors."""

    name: str
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


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


@schema(config=STRICT, frozen=True)
class Description:
    """What `task.json` holds."""

    format: Literal[2]
    task: str
    classes: Annotated[list[str], Field(min_length=2)]
    input: InputFields
    backbone: BackboneFields
    plan: PlanFields
    graph: dict[str, Any]
    method: str
    tensors_sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
    settings: dict[str, Any] = field(default_factory=dict)


@dataclass
class Delta:
    """A loaded delta: the network, and what its description says."""

    net: CompactNet
    description: Description

    @property
    def classes(self) -> list[str]:
        """Names of the classes, in the order of the logits."""
        return self.description.classes


def save(
    net: CompactNet,
    folder: Path | str,
    task: str,
    classes: list[str],
    method: str = "nettailor",
    settings: dict[str, Any] | None = None,
    card: str = "",
) -> None:
    """Write the delta of a compact net.

    Raises:
        FileError: the folder can't be written.
    """
    folder, backbone, plan = Path(folder), net.backbone, net.plan
    tensors_path = folder / TENSORS
    write_tensors(tensors_path, net.task_tensors())
    description = Description(
        format=FORMAT,
        task=check_name(task),
        classes=classes,
        input=InputFields(**asdict(net.spec)),
        backbone=BackboneFields(backbone.name, fingerprint(backbone)),
        plan=PlanFields(net.depth, plan.batch_norm, plan.rank, plan.adapters, plan.copied, plan.head, plan.gated),
        graph=BlockGraph.of(net).to_json(),
        method=method,
        tensors_sha256=_sha256(tensors_path),
        settings=settings or {},
    )
    write_text(
        folder / CARD,
        card or f"# {task}\n\nA nettailor delta over {backbone.name}: `nettailor predict {folder} IMAGE`.\n",
    )
    write_json(folder / DESCRIPTION, asdict(description))


def load(folder: Path | str, backbone: Backbone | None = None) -> Delta:
    """Read a delta and build its network over the backbone.

    Args:
        folder: the delta's folder, or the run folder around it.
        backbone: loaded already; if left out it is loaded by the name in the delta, unless that name means importing
            somebody's code.

    Raises:
        FileError: a file is missing, cut short or altered, of an unknown format, or belongs to another backbone.
    """
    folder = delta_folder(folder)
    description = read_description(folder)
    if backbone is None:
        name = description.backbone.name
        if ":" in name:
            raise FileError(
                folder / DESCRIPTION, f"backbone: {name!r} is code to import; name it yourself with --backbone"
            )
        backbone = load_described(name, None, description.input)
    found = fingerprint(backbone)
    if found != description.backbone.sha256:
        raise FileError(
            folder / DESCRIPTION,
            f"backbone.sha256: belongs to another {description.backbone.name} ({description.backbone.sha256[:12]}...) "
            f"than this one ({found[:12]}...); give the right one with --backbone or --weights",
        )
    spec = InputSpec(**asdict(description.input))
    if spec != backbone.spec:
        raise FileError(folder / DESCRIPTION, f"input: is {spec}, but the backbone reads {backbone.spec}")
    if description.plan.depth > backbone.depth:
        raise FileError(
            folder / DESCRIPTION,
            f"plan.depth: is {description.plan.depth}, but the backbone has {backbone.depth} blocks",
        )
    graph = _graph(folder, description, description.plan.depth)
    if _sha256(folder / TENSORS) != description.tensors_sha256:
        raise FileError(
            folder / TENSORS, f"is not the file that {DESCRIPTION} describes: cut short or altered; get it anew"
        )
    tensors, _ = read_tensors(folder / TENSORS)
    fields = asdict(description.plan)
    del fields["depth"]
    net = CompactNet(backbone, NetPlan(tuple(graph.paths), len(description.classes), **fields))
    restore(net.task_tensors(), tensors, folder / TENSORS)
    return Delta(net, description)


def load_described(name: str, weights: str | None, pictures: InputFields) -> Backbone:
    """A backbone that reads the pictures that a delta describes."""
    spec = asdict(pictures)
    return load_backbone(name, weights, spec.pop("size"), **spec)


def delta_folder(folder: Path | str) -> Path:
    """The delta's own folder, given it or the run folder around it.

    Raises:
        FileError: there is none.
    """
    folder = Path(folder)
    for candidate in (folder / "task", folder):
        if (candidate / DESCRIPTION).is_file():
            return candidate
    raise FileError(folder, f"holds no delta ({DESCRIPTION}); is the run finished?")


def read_description(folder: Path) -> Description:
    """Read and check `task.json`; the graph is checked against the backbone later."""
    path = folder / DESCRIPTION
    tree = read_json(path)
    if not isinstance(tree, dict):
        raise FileError(path, "is no description of a task")
    if tree.get("format") not in READABLE:
        known = " and ".join(map(str, READABLE))
        raise FileError(path, f"format: is {tree.get('format')!r}, this nettailor reads {known}; update nettailor")
    return checked(Description, _from_format_1(tree) if tree["format"] == 1 else tree, path)


def _from_format_1(tree: dict[str, Any]) -> dict[str, Any]:
    """A description as format 1 wrote it: norm policy and rank stood beside the graph, and every network was a student's."""
    rest = {key: value for key, value in tree.items() if key not in ("batch_norm", "rank")}
    nodes = tree.get("graph", {}).get("nodes", []) if isinstance(tree.get("graph"), dict) else []
    plan = {"depth": len(nodes) - 1, "batch_norm": tree.get("batch_norm"), "rank": tree.get("rank", 0)}
    return {**rest, "format": FORMAT, "plan": plan}


def _graph(folder: Path, description: Description, depth: int) -> BlockGraph:
    try:
        graph = BlockGraph.from_json(description.graph, depth)
    except GraphError as error:
        raise FileError(folder / DESCRIPTION, f"graph: {error}") from error
    for path in graph.proxies():
        if path.form not in FORMS:
            known = f"it is code to import: allow it with --proxies {path.form}" if ":" in path.form else ""
            raise FileError(
                folder / DESCRIPTION,
                f"graph: {path.key} is a {path.form!r}; {known or 'there are ' + ', '.join(FORMS)}",
            )
    return graph


def _sha256(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise FileError(path, f"can't be read ({error.strerror})") from error


def task_bytes(folder: Path) -> int:
    """Bytes that a device needs beside the backbone: description and tensors."""
    return sum((folder / name).stat().st_size for name in (DESCRIPTION, TENSORS))
