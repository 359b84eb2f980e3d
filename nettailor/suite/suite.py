"""A suite in memory: the backbone's tensors once, and every task's network over them.

suite = Suite.load("suites/signs")       suite["gtsrb"](images) -> logits       suite(images, tasks=["gtsrb", "svhn"])

resident    networks over the one backbone, which they share     backbone + deltas; answers as `delta.load`'s network does
fast        folded copies: of what tasks begin with alike one    a private copy for each task of what it does not share;
            (`prefix`), of the rest one for each task            see `Suite.memory`

In both, several tasks of one picture compute once what their networks begin with alike.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from blocks import Backbone, InputSpec
from nettailor.artifacts.delta import DESCRIPTION, Delta
from nettailor.artifacts.delta import load as load_delta
from nettailor.backbones.hashes import BackboneHashes
from nettailor.data.batches import normalise
from nettailor.environment import pick_device
from nettailor.errors import BackboneError, DataError, FileError, UsageError, did_you_mean
from nettailor.files import sha256_of
from nettailor.suite.folder import SuiteFolder, SuiteIndex
from nettailor.suite.prefix import SharedNets
from nettailor.suite.shared import kept_blocks, release, restore_backbone

Mode = Literal["resident", "fast"]
MODES = get_args(Mode)
ALL = "all"  # in place of names of tasks
TRIES = 5  # to read a suite that is changed meanwhile


@dataclass(frozen=True)
class SuiteMemory:
    """Bytes of a suite's tensors in memory, each tensor once.

    Attributes:
        backbone: of what tasks share; in fast mode the folded copies of what they begin with alike.
        tasks: of what is each task's own.
    """

    backbone: int
    tasks: dict[str, int]

    @property
    def total(self) -> int:
        """Bytes of all."""
        return self.backbone + sum(self.tasks.values())


@dataclass(frozen=True)
class TaskNet:
    """One task of a suite: pictures in, logits out.

    Attributes:
        classes: their names, in the order of the logits.
        spec: the pictures that it reads.
    """

    name: str
    net: nn.Module
    classes: list[str]
    spec: InputSpec
    device: torch.device

    @torch.inference_mode()
    def __call__(self, images: Tensor) -> Tensor:
        """Logits (B, classes) of pictures, which are taken as by `Suite.__call__`."""
        logits: Tensor = self.net(prepared(images, self.spec, self.device))
        return logits


class Suite:
    """One backbone and the networks of many tasks over it.

    Args:
        backbone: that all networks share.
        deltas: by the names of their tasks.
        device: where all of it is.
        mode: see the top of this file.
        version: of the folder that it was loaded from (`SuiteFolder.version`).
    """

    def __init__(
        self,
        backbone: Backbone,
        deltas: Mapping[str, Delta],
        device: torch.device,
        mode: Mode = "resident",
        version: str = "",
    ) -> None:
        self.spec = backbone.spec
        self.device, self.mode, self.version = device, mode, version
        self.descriptions = {name: delta.description for name, delta in deltas.items()}
        resident = {name: delta.net for name, delta in deltas.items()}
        move([backbone, *resident.values()], device)
        self._backbone = backbone if mode == "resident" else None
        self._together = SharedNets(resident, fast=mode == "fast")
        self.nets: dict[str, nn.Module] = {name: self._together.alone(name) for name in resident}
        """Each task's network: a `CompactNet` in resident mode, folded copies in fast mode."""
        self._tasks = {
            name: TaskNet(name, net, deltas[name].classes, self.spec, device) for name, net in self.nets.items()
        }

    @classmethod
    def load(
        cls,
        path: Path | str,
        device: str | torch.device = "cpu",
        mode: Mode = "resident",
        backbone: str | None = None,
        tasks: Sequence[str] | None = None,
    ) -> Suite:
        """Load a suite from its folder; nothing is downloaded, and no code that it names is imported.

        Args:
            device: `cpu`, `cuda`, or `auto`: a GPU where there is one.
            backbone: its name, where it means importing code (`module:callable`), which a file may not ask for.
            tasks: those to load; all if left out.

        Raises:
            FileError: there is no suite, or a file of it is missing, altered or of a later version.
            UsageError: there is no such task or mode.
            BackboneError: there is no such backbone.
            DataError: this machine has no such device.
        """
        if mode not in MODES:
            raise UsageError(f"mode: {mode!r} is none{did_you_mean(mode, MODES, '; there are ' + ' and '.join(MODES))}")
        place = pick_device(device) if isinstance(device, str) else device
        folder = SuiteFolder(Path(path))
        for last in (False,) * (TRIES - 1) + (True,):
            version = folder.version()
            try:
                index = folder.read()
                whole, deltas = load_parts(folder, index, backbone, tasks)
                return cls(whole, deltas, place, mode, version)
            except FileError:
                if last or folder.version() == version:
                    raise  # it was not changed meanwhile: the files are wrong
        raise AssertionError

    @property
    def tasks(self) -> list[str]:
        """Names of the tasks."""
        return list(self._tasks)

    @property
    def backbone(self) -> Backbone:
        """What all networks share. A source classifier that no task reads holds no values, nor do blocks that a packed suite
        lacks.

        Raises:
            BackboneError: the suite is in fast mode, where every network is a copy of its own.
        """
        if self._backbone is None:
            raise BackboneError("a suite in fast mode keeps no backbone: every task's network is a folded copy")
        return self._backbone

    def classes(self, task: str) -> list[str]:
        """Names of a task's classes, in the order of the logits.

        Raises:
            UsageError: there is no such task.
        """
        return self[task].classes

    def __getitem__(self, task: str) -> TaskNet:
        found = self._tasks.get(task)
        if found is None:
            raise unknown_task(task, self._tasks)
        return found

    def __contains__(self, task: object) -> bool:
        return task in self._tasks

    def __iter__(self) -> Iterator[str]:
        return iter(self._tasks)

    def __len__(self) -> int:
        return len(self._tasks)

    @torch.inference_mode()
    def __call__(self, images: Tensor, tasks: Sequence[str] | None = None) -> dict[str, Tensor]:
        """What several tasks say of the same pictures.

        Args:
            images: uint8 (B, 3, S, S), RGB, as evaluation sees them: squares of the input size, not normalised; or
                floats of the same shape that are normalised already. S is `spec.size`.
            tasks: names; all tasks if left out.

        Returns:
            Logits (B, classes) by task, in the order of `tasks`.

        Raises:
            UsageError: there is no such task.
            DataError: the pictures are of another shape or type.
        """
        chosen = [self[name].name for name in (self.tasks if tasks is None else tasks)]
        return self._together(prepared(images, self.spec, self.device), chosen)

    def memory(self) -> SuiteMemory:
        """Bytes of the tensors that the suite holds, storage by storage."""
        shared = storages(self._together.shared_copies() if self._backbone is None else [self._backbone])
        seen, tasks = set(shared), {}
        for name, net in self.nets.items():
            own = {place: size for place, size in storages([net]).items() if place not in seen}
            seen |= own.keys()
            tasks[name] = sum(own.values())
        return SuiteMemory(sum(shared.values()), tasks)

    def __repr__(self) -> str:
        return f"Suite of {len(self)} tasks ({self.mode}, {self.memory().total / 1e6:.1f} MB): {', '.join(self)}"


def load_parts(
    folder: SuiteFolder, index: SuiteIndex, backbone: str | None = None, tasks: Sequence[str] | None = None
) -> tuple[Backbone, dict[str, Delta]]:
    """A suite's backbone, and the deltas of some tasks over it; on the CPU.

    Args:
        backbone: its name, where the index may not say it.
        tasks: names; all if left out.

    Raises:
        FileError, UsageError, BackboneError: as `Suite.load`.
    """
    for name in tasks or ():
        if name not in index.tasks:
            raise unknown_task(name, index.tasks)
    whole = restore_backbone(folder, index, backbone)
    hashes = BackboneHashes(index.backbone.sha256, index.backbone.geometry_sha256)
    deltas = {}
    for name in index.tasks if tasks is None else dict.fromkeys(tasks):
        place = folder.delta(name, index.tasks[name])
        if sha256_of(place / DESCRIPTION) != index.tasks[name].sha256:
            raise FileError(place / DESCRIPTION, f"is not the file that {folder.index.name} names; get it anew")
        deltas[name] = load_delta(place, whole, hashes)
        check_blocks(deltas[name], index, folder.index, name)
    release(whole, index.packed, any(delta.net.plan.keeps_source_classifier for delta in deltas.values()))
    return whole, deltas


def check_blocks(delta: Delta, index: SuiteIndex, path: Path, name: str) -> None:
    """See that a suite has the blocks that a task keeps.

    Raises:
        FileError: it is packed, and has not.
    """
    if index.packed is not None and (lacking := sorted(kept_blocks(delta.net) - set(index.packed))):
        shown = ", ".join(f"G{number}" for number in lacking)
        raise FileError(
            path,
            f"packed: has no {shown}, which {name!r} keeps; add the task to the suite that was packed, and pack anew",
        )


def unknown_task(task: str, known: Iterable[str]) -> UsageError:
    """The error about a task that a suite does not have, with the nearest right name."""
    known = list(known)
    there = f"; there are {', '.join(known)}" if known else "; it has none"
    return UsageError(f"the suite has no task {task!r}{did_you_mean(task, known, there)}")


def prepared(images: Tensor, spec: InputSpec, device: torch.device) -> Tensor:
    """Pictures as networks read them: normalised float32 (B, 3, S, S) on a device, channels last in memory.

    Raises:
        DataError: they are of another shape or type.
    """
    if images.ndim != 4 or tuple(images.shape[1:]) != (3, spec.size, spec.size):
        raise DataError(f"images: are {list(images.shape)}; they have to be [B, 3, {spec.size}, {spec.size}]")
    if images.dtype == torch.uint8:
        return normalise(images, spec, device)
    if not images.is_floating_point():
        raise DataError(f"images: are {images.dtype}; they have to be uint8, or floats that are normalised already")
    return images.to(device, torch.float32).contiguous(memory_format=torch.channels_last)


def move(modules: Iterable[nn.Module], device: torch.device) -> None:
    """Move tensors in place, so that what networks share stays shared."""
    for tensor in _tensors(modules):
        if not tensor.is_meta and tensor.device != device:
            tensor.data = tensor.data.to(device)


def storages(modules: Iterable[nn.Module]) -> dict[int, int]:
    """Bytes of the memory that the tensors of modules take, by its address."""
    held = (tensor.untyped_storage() for tensor in _tensors(modules) if not tensor.is_meta)
    return {storage.data_ptr(): storage.nbytes() for storage in held}


def _tensors(modules: Iterable[nn.Module]) -> list[Tensor]:
    distinct = {id(tensor): tensor for module in modules for tensor in (*module.parameters(), *module.buffers())}
    return list(distinct.values())
