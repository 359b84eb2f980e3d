"""The delta: everything that one task adds to the backbone, in three files.

    task/task.json            what the network is: classes, input, backbone and its hashes, kept graph, settings
    task/task.safetensors     every tensor that the task owns, and nothing else
    task/README.md            a card for people

`save` and `load` are inverse: the same builder makes the network, so the loaded one gives the same bits. Nothing is
unpickled, nothing named in the files is imported, and nothing is believed: the description is held to its schema
(`description`), backbone and tensors to their hashes, the tensors to the names, types and shapes that the network wants
before memory is taken for them, and the gates that the graph says to those in the tensors. MACs and parameters of the
graph's edges are there to be read and are not compared with anything: nothing is built or counted from them.
"""

from __future__ import annotations

import json
import warnings
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from blocks import Backbone, CompactNet, InputSpec, NetPlan
from blocks.chosen_channels import ChosenChannels
from blocks.narrow import WidthError
from blocks.top import TopError
from nettailor.artifacts.delta_tensors import read_checked, wanted_tensors
from nettailor.artifacts.description import (
    CARD,
    DESCRIPTION,
    FORMAT,
    MOST_BYTES,
    OPTIONAL,
    TENSORS,
    Description,
    InputFields,
    check_method,
    read_description,
)
from nettailor.artifacts.hub import HubName, fetch, is_hub_name
from nettailor.backbones.hashes import BackboneHashes, classifier_sha256, geometry_sha256, tensors_sha256
from nettailor.backbones.load import load_backbone
from nettailor.data.task import check_name
from nettailor.errors import FileError, NettailorWarning
from nettailor.files import sha256_of, write_json, write_tensors, write_text
from nettailor.pruning.graph import BlockGraph
from nettailor.schema import checked
from nettailor.training.checkpoint import restore

__all__ = [
    "CARD",
    "DESCRIPTION",
    "TENSORS",
    "Delta",
    "Description",
    "InputFields",
    "UncheckedWarning",
    "delta_folder",
    "load",
    "load_described",
    "read_description",
    "save",
    "task_bytes",
]


class UncheckedWarning(NettailorWarning):
    """A delta of an older format, which does not say all that `load` checks today."""


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
        FileError: the folder can't be written, or `load` would refuse what was written: no distinct names of classes, or
            none for each logit, more than `MOST_BYTES` of them, or no such method.
        DataError: the task's name is none.
    """
    folder, backbone = Path(folder), net.backbone
    tensors_path, description_path = folder / TENSORS, folder / DESCRIPTION
    if len(classes) != net.classes:
        raise FileError(description_path, f"classes: are {len(classes)}, but the network has {net.classes} logits")
    tree = {
        "format": FORMAT,
        "task": check_name(task),
        "classes": list(classes),
        "input": asdict(net.spec),
        "backbone": {
            "name": backbone.name,
            "sha256": tensors_sha256(backbone),
            "geometry_sha256": geometry_sha256(backbone),
            "classifier_sha256": classifier_sha256(backbone),
        },
        "plan": plan_tree(net),
        "graph": BlockGraph.of(net).to_json(),
        "method": method,
        "tensors_sha256": "0" * 64,
        "settings": settings or {},
    }
    checked(Description, tree, description_path, strict=True)
    check_method(method, description_path)
    if len(json.dumps(tree, indent=2)) > MOST_BYTES:
        raise FileError(description_path, f"classes: take more than {MOST_BYTES} bytes; shorten their names")
    write_tensors(tensors_path, net.task_tensors(), {"plan": tree["plan"]})  # so that their hash covers it, too
    write_text(
        folder / CARD,
        card or f"# {task}\n\nA nettailor delta over {backbone.name}: `nettailor predict {folder} IMAGE`.\n",
    )
    write_json(description_path, tree | {"tensors_sha256": sha256_of(tensors_path)})


def plan_tree(net: CompactNet) -> dict[str, Any]:
    """A net's plan as `PlanFields` reads it."""
    plan = net.plan
    tree = {"depth": net.depth} | {key: getattr(plan, key) for key in PLAN_KEYS}
    tree["widths"] = {name: list(width) for name, width in plan.widths}
    tree["top"] = None if plan.top is None else json.loads(json.dumps({"kind": plan.top.kind, **asdict(plan.top)}))
    return {key: value for key, value in tree.items() if value or key not in OPTIONAL}


PLAN_KEYS = ("batch_norm", "rank", "adapters", "copied", "head", "gated", "shared_prefix", "tuned_from")


def load(folder: Path | str, backbone: Backbone | None = None, backbone_hashes: BackboneHashes | None = None) -> Delta:
    """Read a delta and build its network over the backbone.

    Args:
        folder: the delta's folder, the run folder around it, or its name on the hub: `hf://user/name`.
        backbone: loaded already; if left out it is loaded by the name in the delta, unless that name means importing
            somebody's code or downloading weights.
        backbone_hashes: of the backbone, where they are known: of many deltas over one they are computed once.

    Raises:
        FileError: a file is missing, cut short or altered, of an unknown format, or belongs to another backbone; see the
            top of this file for what is checked.
        HubError: it can't be had from the hub.

    Warns:
        UncheckedWarning: the delta is of format 1, which says nothing of the backbone's geometry.
        HubWarning: the hub can't be reached, and the files of an earlier call are used.
    """
    folder = delta_folder(folder)
    path = folder / DESCRIPTION
    description = read_description(folder)
    if backbone is None:
        name = description.backbone.name
        if ":" in name:
            raise FileError(path, f"backbone: {name!r} is code to import; name it yourself with --backbone")
        backbone = load_described(name, None, description.input, fetch=False)
    _check_backbone(description, backbone, path, backbone_hashes)
    plan = description.net_plan(path)
    _check_top(plan, description, backbone, path)
    if sha256_of(folder / TENSORS) != description.tensors_sha256:
        raise FileError(
            folder / TENSORS, f"is not the file that {DESCRIPTION} describes: cut short or altered; get it anew"
        )
    try:
        wanted = wanted_tensors(backbone, plan)
    except WidthError as error:
        raise FileError(path, f"plan.widths: {error}") from error
    tensors, notes = read_checked(folder / TENSORS, wanted)
    if description.says_all and notes.get("plan") != description.plan.as_tree():
        raise FileError(path, f"plan: is not the one with which {TENSORS} was written; get both anew")
    net = CompactNet(backbone, plan)
    restore(net.task_tensors(), tensors, folder / TENSORS)
    _check_channels(net, folder / TENSORS)
    _check_gates(description, net, path)
    _check_answers(net, folder / TENSORS, path)
    return Delta(net, description)


def _check_backbone(description: Description, backbone: Backbone, path: Path, known: BackboneHashes | None) -> None:
    """Tensors, pictures, depth and geometry, in this order: the first that differs explains the others."""
    said = description.backbone
    found = tensors_sha256(backbone) if known is None else known.tensors
    if found != said.sha256:
        raise FileError(
            path,
            f"backbone.sha256: belongs to another {said.name} ({said.sha256[:12]}...) than this one ({found[:12]}...): "
            "its tensors differ; give the right one with --backbone or --weights",
        )
    spec = InputSpec(**asdict(description.input))
    if spec != backbone.spec:
        raise FileError(path, f"input: is {spec}, but the backbone reads {backbone.spec}")
    if description.plan.depth > backbone.depth:
        raise FileError(path, f"plan.depth: is {description.plan.depth}, but the backbone has {backbone.depth} blocks")
    if not description.says_all:
        warnings.warn(
            f"{path}: is of format 1, which does not say how the backbone computes (strides, padding, eps, activations): "
            "that was not checked, only its tensors were",
            UncheckedWarning,
            stacklevel=3,
        )
        return
    found = geometry_sha256(backbone) if known is None else known.geometry
    if found != said.geometry_sha256:
        raise FileError(
            path,
            f"backbone.geometry_sha256: belongs to a {said.name} that computes otherwise with the same tensors (strides, "
            f"padding, eps or activations differ from this {backbone.name}'s); give its arguments with --backbone "
            "NAME,argument=value",
        )


def _check_top(plan: NetPlan, description: Description, backbone: Backbone, path: Path) -> None:
    """A top has to be one that this backbone can have, and where it reads the source classifier, that has to be the same."""
    if plan.tuned_from > backbone.depth + 2:
        raise FileError(
            path,
            f"plan.tuned_from: is {plan.tuned_from}, but the backbone has {backbone.depth} blocks; get the file anew",
        )
    if plan.top is None:
        return
    if plan.depth != backbone.depth:
        raise FileError(
            path, f"plan.depth: is {plan.depth}, but a {plan.top.kind} top stands on all {backbone.depth} blocks"
        )
    try:
        plan.top.reads(backbone)
        with torch.device("meta"):
            plan.top.build(backbone, 2)
    except TopError as error:
        raise FileError(path, f"plan.top: {error}") from error
    said = description.backbone.classifier_sha256
    if plan.keeps_source_classifier and classifier_sha256(backbone) != said:
        raise FileError(
            path,
            f"backbone.classifier_sha256: belongs to a {description.backbone.name} with another source classifier, which "
            "this network computes with; give the right one with --backbone or --weights",
        )


def _check_channels(net: CompactNet, path: Path) -> None:
    """The numbers of channels that thinned blocks read have to be those of channels that the backbone has."""
    for name, module in net.named_modules():
        if isinstance(module, ChosenChannels) and not module.numbers_are_right():
            raise FileError(
                path, f"tensor '{name}.outputs' or '.inputs' names channels that are not there; get it anew"
            )


def _check_gates(description: Description, net: CompactNet, path: Path) -> None:
    """The graph is read by people and programs that don't open the tensors, so it has to say the same."""
    for kept, gate in description.gates().items():
        if gate != net.gate_of(kept):
            raise FileError(
                path, f"graph: {kept.key} has a gate of {gate}, but {TENSORS} has {net.gate_of(kept)}; get both anew"
            )


def _check_answers(net: CompactNet, path: Path, description: Path) -> None:
    """Widths have to fit together, as only running the net tells, and finite tensors can still be too large to compute with.

    Two pictures tell, one even and one of noise.
    """
    size = net.spec.size
    noise = torch.randn(1, 3, size, size, generator=torch.Generator().manual_seed(0))
    tensor = next(iter(net.task_tensors().values()))
    try:
        with torch.no_grad():
            logits = net(torch.cat([torch.zeros_like(noise), noise]).to(tensor))
    except RuntimeError as error:
        if not net.plan.widths:
            raise
        raise FileError(description, "plan.widths: its layers do not fit together; get the file anew") from error
    if not torch.isfinite(logits).all():
        raise FileError(path, "gives answers that are not finite: its values are too large; get the file anew")


def load_described(name: str, weights: str | None, pictures: InputFields, fetch: bool = True) -> Backbone:
    """A backbone that reads the pictures that a delta describes; its weights are downloaded only where the user named it."""
    spec = asdict(pictures)
    return load_backbone(name, weights, spec.pop("size"), fetch=fetch, **spec)


def delta_folder(folder: Path | str) -> Path:
    """The delta's own folder, given it, the run folder around it, or its name on the hub, from where it is then fetched.

    Raises:
        FileError: there is none.
        HubError, UsageError: the hub has none of that name, or can't be asked (`nettailor.artifacts.hub`).
    """
    if is_hub_name(folder):
        folder = fetch(HubName.parse(folder))
    folder = Path(folder)
    for candidate in (folder / "task", folder):
        if (candidate / DESCRIPTION).is_file():
            return candidate
    raise FileError(folder, f"holds no delta ({DESCRIPTION}); is the run finished?")


def task_bytes(folder: Path) -> int:
    """Bytes that a device needs beside the backbone: description and tensors."""
    return sum((folder / name).stat().st_size for name in (DESCRIPTION, TENSORS))
