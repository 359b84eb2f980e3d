"""Changes of a suite on disk: tasks come and go, and a suite is packed for a device.

    add       deltas -> checked against the backbone -> copied -> suite.json replaced -> what is not named any more removed
    remove    suite.json replaced -> its delta removed
    pack      suite -> another one that has only the blocks that some task keeps

A change happens when `suite.json` is replaced. Killed before, it leaves the old suite; killed after, the new one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch

from blocks import Backbone
from blocks.counting import count_params, tensors_of
from nettailor.artifacts.delta import delta_folder, load, load_described, read_description
from nettailor.artifacts.description import DESCRIPTION, BackboneFields, Description, InputFields
from nettailor.artifacts.run_folder import RunFolder
from nettailor.artifacts.weight_of_tasks import ELEMENT
from nettailor.backbones.hashes import BackboneHashes, classifier_sha256
from nettailor.data.task import check_name
from nettailor.errors import FileError, UsageError
from nettailor.suite.folder import FORMAT, SuiteBackbone, SuiteFolder, SuiteIndex
from nettailor.suite.shared import classifier_tensors, kept_blocks, restore_backbone, store_backbone, store_classifier
from nettailor.suite.suite import ALL, check_blocks, load_parts, unknown_task


def finished_delta(run: Path | str) -> Path:
    """The folder of a finished run's delta, or a delta's own.

    Raises:
        FileError: the run is not finished, or there is no delta.
    """
    folder = RunFolder(Path(run))
    if folder.recipe.is_file() and not folder.report.is_file():
        raise FileError(
            run, f"is not finished: it has no {folder.report.name}; the command that began it goes on with it"
        )
    return delta_folder(run)


def add(
    suite: Path | str,
    runs: Sequence[Path | str],
    backbone: Backbone | str | None = None,
    names: Sequence[str] | None = None,
    replaces: bool = False,
) -> list[str]:
    """Add the deltas of runs to a suite, all or none; the first ones make it.

    Args:
        suite: its folder; one that does not exist, or is empty, becomes one.
        runs: folders of finished runs, or of deltas.
        backbone: of a new suite, loaded, where the name in the first delta is not enough. Of an existing one its name, where
            it means importing code; or loaded, where it lacks a source classifier (`lacks_classifier`).
        names: of the tasks in the suite, one for each run; those in the deltas if left out.
        replaces: whether a task of the same name gives way.

    Returns:
        The names under which they were added.

    Raises:
        FileError: a run is not finished or belongs to another backbone, the suite has a task of the same name, or is
            written by another process or a later version, or can't be written.
        UsageError: a name that no task can have in a suite.
    """
    deltas = [finished_delta(run) for run in runs]
    descriptions = [read_description(delta) for delta in deltas]
    chosen = list(names) if names is not None else [description.task for description in descriptions]
    _check_names(chosen, deltas)
    folder = SuiteFolder(Path(suite))
    with folder.changing(make=True) as index:
        there = sorted(set(chosen) & (index.tasks.keys() if index else set()))
        if there and not replaces:
            raise FileError(
                folder.root,
                f"has a task {there[0]!r} already; replace it with --replace, or give another name with --name",
            )
        said = index.backbone if index else descriptions[0].backbone
        for delta, description in zip(deltas, descriptions, strict=True):
            if description.backbone.sha256 != said.sha256:
                raise FileError(delta / DESCRIPTION, _other_backbone(description.backbone, said))
        whole, settled = _backbone(folder, index, backbone, deltas[0], descriptions[0])
        keepers = [place for place, said in zip(deltas, descriptions, strict=True) if _keeps_classifier(place, said)]
        if keepers and index is not None and index.backbone.classifier_file_sha256 is None:
            _take_classifier(whole, backbone, keepers[0])
        hashes = BackboneHashes(settled.backbone.sha256, settled.backbone.geometry_sha256)
        for delta, name in zip(deltas, chosen, strict=True):
            check_blocks(load(delta, whole, hashes), settled, folder.index, name)
        if index is None:
            settled = replace(settled, backbone=store_backbone(whole, folder.backbone, hashes))
        if keepers and settled.backbone.classifier_file_sha256 is None:
            settled = _with_classifier(settled, whole, folder)
        added = {name: folder.copy_delta(delta, name) for delta, name in zip(deltas, chosen, strict=True)}
        settled = replace(settled, tasks={**settled.tasks, **added})
        folder.write(settled)
        folder.clean(settled)
    return chosen


def lacks_classifier(suite: Path | str, runs: Sequence[Path | str]) -> bool:
    """Whether a delta of these runs computes with the source classifier, and the suite, which exists, does not have it yet.

    Raises:
        FileError: there is no suite, or a file can't be read.
    """
    if SuiteFolder(Path(suite)).read().backbone.classifier_file_sha256 is not None:
        return False
    deltas = [finished_delta(run) for run in runs]
    return any(_keeps_classifier(delta, read_description(delta)) for delta in deltas)


def remove(suite: Path | str, names: Sequence[str]) -> list[str]:
    """Take tasks out of a suite, all or none; a suite without tasks stays one, with its backbone.

    Returns:
        The tasks that are left.

    Raises:
        UsageError: the suite has no such task.
        FileError: there is no suite, or it is written by another process or a later version, or can't be written.
    """
    folder = SuiteFolder(Path(suite))
    with folder.changing() as index:
        assert index is not None
        for name in names:
            if name not in index.tasks:
                raise unknown_task(name, index.tasks)
        left = replace(index, tasks={name: task for name, task in index.tasks.items() if name not in names})
        folder.write(left)
        folder.clean(left)
    return list(left.tasks)


@dataclass(frozen=True)
class Packed:
    """What was packed, in bytes.

    Attributes:
        tasks: how many.
        blocks: numbers of the blocks that are there, of `depth`.
        packed, full: of all files of the packed suite and of the one it came from, the cards for people aside.
        private: of tensors of as many folded networks that share nothing, as float32.
    """

    tasks: int
    blocks: list[int]
    depth: int
    packed: int
    full: int
    private: int


def pack(suite: Path | str, out: Path | str, backbone: str | None = None) -> Packed:
    """Write a suite for a device: only the blocks that some task keeps, and the deltas.

    Args:
        out: its folder; it must not exist, or be empty.
        backbone: its name, where it means importing code.

    Raises:
        FileError: there is no suite, it is empty or damaged, or the folder holds something or can't be written.
        UsageError: both folders are the same.
        BackboneError: there is no such backbone.
    """
    source, target = SuiteFolder(Path(suite)), SuiteFolder(Path(out))
    if source.root.resolve() == target.root.resolve():
        raise UsageError(f"--out: is the suite's own folder {source.root}; choose another")
    index = source.read()
    if not index.tasks:
        raise FileError(source.root, "has no tasks; nothing of it would be left")
    whole, deltas = load_parts(source, index, backbone)
    blocks = sorted(set().union(*(kept_blocks(delta.net) for delta in deltas.values())))
    hashes = BackboneHashes(index.backbone.sha256, index.backbone.geometry_sha256)
    full = source.bytes(index)
    private = sum(count_params(tensors_of(delta.net.for_inference()).values()) for delta in deltas.values())
    with target.changing(make=True) as there:
        if there is not None:
            raise FileError(target.root, "holds a suite already; choose another --out")
        stored = store_backbone(whole, target.backbone, hashes, blocks)
        index = replace(index, backbone=stored)
        if any(delta.net.plan.keeps_source_classifier for delta in deltas.values()):
            index = _with_classifier(index, whole, target)
        tasks = {name: target.copy_delta(source.delta(name, task), name) for name, task in index.tasks.items()}
        packed = replace(index, tasks=tasks, packed=blocks)
        target.write(packed)
    return Packed(len(tasks), blocks, whole.depth, target.bytes(packed), full, ELEMENT * private)


def _check_names(names: Sequence[str], deltas: Sequence[Path]) -> None:
    if len(names) != len(deltas):
        raise UsageError(f"{len(names)} names were given for {len(deltas)} runs")
    name, times = Counter(names).most_common(1)[0]
    if times > 1:
        both = [str(delta) for other, delta in zip(names, deltas, strict=True) if other == name]
        raise FileError(both[1], f"its task is named {name!r}, as that of {both[0]}; add it by itself with --name")
    for name in names:
        check_name(name)
        if name == ALL or "," in name:
            raise UsageError(f"no task of a suite can be named {name!r}; give another name with --name")


def _other_backbone(own: BackboneFields, said: BackboneFields | SuiteBackbone) -> str:
    return (
        f"backbone.sha256: belongs to {own.name} ({own.sha256[:12]}...), but the suite is over {said.name} "
        f"({said.sha256[:12]}...); a suite has one backbone: make another suite of the deltas of this one"
    )


def _keeps_classifier(delta: Path, description: Description) -> bool:
    return description.net_plan(delta / DESCRIPTION).keeps_source_classifier


def _with_classifier(index: SuiteIndex, backbone: Backbone, folder: SuiteFolder) -> SuiteIndex:
    """Write the source classifier's file, and name it in the index."""
    written = store_classifier(backbone, folder.classifier)
    return replace(index, backbone=replace(index.backbone, classifier_file_sha256=written))


def _take_classifier(whole: Backbone, given: Backbone | str | None, delta: Path) -> None:
    """Give a suite's backbone, which was stored without it, the source classifier of the one that a delta came from."""
    said = read_description(delta)
    name = said.backbone.name if given is None else given
    if given is None and ":" in said.backbone.name:
        raise FileError(delta / DESCRIPTION, f"backbone: {name!r} is code to import; name it yourself with --backbone")
    source = name if isinstance(name, Backbone) else load_described(name, None, said.input, fetch=given is not None)
    if classifier_sha256(source) != said.backbone.classifier_sha256:
        raise FileError(
            delta / DESCRIPTION,
            "backbone.classifier_sha256: the task computes with the source classifier, which the suite does not have yet, "
            f"and that of {source.name} is another; give the right one with --backbone or --weights",
        )
    own = classifier_tensors(whole)
    with torch.no_grad():
        for key, tensor in classifier_tensors(source).items():
            own[key].copy_(tensor)


def _backbone(
    folder: SuiteFolder, index: SuiteIndex | None, given: Backbone | str | None, delta: Path, description: Description
) -> tuple[Backbone, SuiteIndex]:
    """The backbone that a suite has or begins with, and the index without what is added."""
    name = given.name if isinstance(given, Backbone) else given
    if index is not None:
        return restore_backbone(folder, index, name), index
    if isinstance(given, Backbone):
        backbone = given
    else:
        if name is None and ":" in description.backbone.name:
            raise FileError(
                delta / DESCRIPTION,
                f"backbone: {description.backbone.name!r} is code to import; name it yourself with --backbone",
            )
        backbone = load_described(name or description.backbone.name, None, description.input, fetch=name is not None)
    hashes = BackboneHashes.of(backbone)
    said = SuiteBackbone(backbone.name, hashes.tensors, hashes.geometry, hashes.tensors)
    return backbone, SuiteIndex(FORMAT, said, InputFields(**asdict(backbone.spec)), {})
