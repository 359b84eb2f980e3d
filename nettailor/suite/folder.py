"""A suite on disk: one backbone, a delta for each task, and the index that says which of them belong to it.

    SUITE/suite.json                what the suite is; replaced last and as a whole, so it is the old suite or the new one
    SUITE/backbone.safetensors      the tensors that tasks share, once; of a packed suite those of the kept blocks alone
    SUITE/classifier.safetensors    the source classifier, where a task computes with it
    SUITE/tasks/NAME-HASH/          a task's delta: task.json, task.safetensors, README.md

What the index does not name is left over from a change that was killed, and is removed by the next one. No path is taken
from the index: a delta's folder is its task's name and the first digits of its hash.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass as schema

from nettailor.artifacts.description import (
    CARD,
    DESCRIPTION,
    MOST_BYTES,
    STRICT,
    TENSORS,
    InputFields,
    Sha256,
    TaskName,
    read_description,
)
from nettailor.artifacts.lock import is_lock, lock_folder
from nettailor.errors import FileError, VersionError
from nettailor.files import copy_file, read_json, read_tensors, sha256_of, write_json
from nettailor.schema import checked

FORMAT: Literal[1] = 1
INDEX, BACKBONE, TASKS = "suite.json", "backbone.safetensors", "tasks"
CLASSIFIER = "classifier.safetensors"
DIGITS = 12  # of a delta's hash in its folder's name
NOTES = {"nettailor suite": FORMAT}
"""In the metadata of a suite's backbone file, which so is known from anybody's weights."""
TASK_FOLDER = re.compile(rf".+-[0-9a-f]{{{DIGITS}}}", re.DOTALL)


@schema(config=STRICT, frozen=True)
class SuiteBackbone:
    """Which backbone it is.

    `sha256` and `geometry_sha256` are those of the whole backbone, to which every delta is held; `file_sha256` is that of
    the file, which may hold a part of it. `classifier_file_sha256` is that of the source classifier's file, where there is
    one.
    """

    name: str
    sha256: Sha256
    geometry_sha256: Sha256
    file_sha256: Sha256
    classifier_file_sha256: Sha256 | None = None


@schema(config=STRICT, frozen=True)
class SuiteTask:
    """One task: the sha256 of its `task.json`, which has that of its tensors."""

    sha256: Sha256


@schema(config=STRICT, frozen=True)
class SuiteIndex:
    """What `suite.json` holds. `packed` are the numbers of the blocks that are there, None where all are."""

    format: Literal[1]
    backbone: SuiteBackbone
    input: InputFields
    tasks: dict[TaskName, SuiteTask]
    packed: list[Annotated[int, Field(ge=1)]] | None = None


@dataclass(frozen=True)
class SuiteFolder:
    """The places inside a suite's folder, and the steps of which a change is made."""

    root: Path

    @property
    def index(self) -> Path:
        """Its presence means that there is a suite."""
        return self.root / INDEX

    @property
    def backbone(self) -> Path:
        """The tensors that tasks share."""
        return self.root / BACKBONE

    @property
    def classifier(self) -> Path:
        """The source classifier's, where the index names it."""
        return self.root / CLASSIFIER

    @property
    def tasks(self) -> Path:
        """The folder of the deltas."""
        return self.root / TASKS

    def delta(self, name: str, task: SuiteTask) -> Path:
        """The folder of a task's delta."""
        return self.tasks / f"{name}-{task.sha256[:DIGITS]}"

    def version(self) -> str:
        """sha256 of the index: another one after every change.

        Raises:
            FileError: there is no suite.
        """
        self._see()
        return sha256_of(self.index)

    def read(self) -> SuiteIndex:
        """Read the index.

        Raises:
            VersionError: another version wrote it.
            FileError: there is no suite, or a field of it is wrong.
        """
        self._see()
        tree = read_json(self.index, MOST_BYTES)
        number = tree.get("format") if isinstance(tree, dict) else None
        if type(number) is not int or number != FORMAT:
            raise VersionError(self.index, f"format: is {repr(number)[:40]}, this nettailor reads {FORMAT}")
        return checked(SuiteIndex, tree, self.index, strict=True)

    def write(self, index: SuiteIndex) -> None:
        """Replace the index: the moment at which a change happens."""
        tree = asdict(index)
        if index.backbone.classifier_file_sha256 is None:
            del tree["backbone"]["classifier_file_sha256"]  # as before there was one: older versions read it
        write_json(self.index, tree | {"tasks": dict(sorted(tree["tasks"].items()))})

    def copy_delta(self, source: Path, name: str) -> SuiteTask:
        """Copy a delta into its folder here, where no index names it yet.

        Raises:
            FileError: it can't be read or written, or it changed meanwhile.
        """
        task = SuiteTask(sha256_of(source / DESCRIPTION))
        target = self.delta(name, task)
        for file in (TENSORS, CARD, DESCRIPTION):
            if file != CARD or (source / file).is_file():
                copy_file(source / file, target / file)
        wanted = {DESCRIPTION: task.sha256, TENSORS: read_description(target).tensors_sha256}
        for file, sha256 in wanted.items():
            if sha256_of(target / file) != sha256:
                raise FileError(source / file, "changed while it was copied; do it again")
        return task

    @contextmanager
    def changing(self, make: bool = False) -> Iterator[SuiteIndex | None]:
        """Be the only process that changes the suite; what an earlier one left behind when it was killed is removed first.

        Args:
            make: whether a suite may begin here: in no folder, or in one that is empty.

        Yields:
            The index; None where a suite begins.

        Raises:
            FolderLockedError: another process changes it.
            FileError: there is no suite, the folder holds something else, or it can't be written.
        """
        if not make:
            self._see()
        made = [folder for folder in (self.root, *self.root.parents) if not folder.exists()]
        try:
            try:
                self.root.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise FileError(self.root, f"can't be made ({error.strerror}); choose another folder") from error
            if not os.access(self.root, os.W_OK):
                raise FileError(self.root, "can't be written; choose another folder, or ask its owner")
            with lock_folder(self.root):
                index = self._present()
                if index is None and not make:
                    self._see()  # it was there before it was locked
                self.clean(index)
                try:
                    yield index
                except BaseException:
                    with suppress(FileError):  # what stays is removed by the next change
                        self.clean(self._present())
                    raise
        except BaseException:
            for folder in made:
                with suppress(OSError):  # not empty: it is in use
                    folder.rmdir()
            raise

    def clean(self, index: SuiteIndex | None) -> None:
        """Remove what the index does not name, of what a suite writes; anything else stays. Only where it is `changing`."""
        live = {self.delta(name, task) for name, task in (index.tasks if index else {}).items()}
        for folder in _inside(self.tasks):
            if folder.is_dir() and TASK_FOLDER.fullmatch(folder.name):
                gone = () if folder in live else (DESCRIPTION, TENSORS, CARD)
                _remove([folder / file for file in gone] + [path for path in _inside(folder) if _is_leftover(path)])
                if folder not in live:
                    _remove_folder(folder)
        _remove([path for path in _inside(self.root) if _is_leftover(path)])
        if index is None:
            _remove([self.backbone])
        if index is None or index.backbone.classifier_file_sha256 is None:
            _remove([self.classifier])
        if not live:
            _remove_folder(self.tasks)

    def bytes(self, index: SuiteIndex) -> int:
        """Of all files that a device needs."""
        files = [self.index, self.backbone]
        files += [self.classifier] if index.backbone.classifier_file_sha256 is not None else []
        for name, task in index.tasks.items():
            files += [self.delta(name, task) / file for file in (DESCRIPTION, TENSORS)]
        return sum(file.stat().st_size for file in files)

    def _see(self) -> None:
        if not self.index.is_file():
            raise FileError(self.root, f"holds no suite ({INDEX}); `nettailor suite add SUITE RUN` makes one")

    def _present(self) -> SuiteIndex | None:
        """The index; None where a suite may begin: there is nothing, or what a killed beginning left."""
        if self.index.exists():
            return self.read()
        if not all(is_lock(path) or _is_leftover(path) or self._is_ours(path) for path in _inside(self.root)):
            raise FileError(self.root, "is not empty and holds no suite; choose another folder")
        return None

    def _is_ours(self, path: Path) -> bool:
        """Whether what lies where there is no suite was left by a killed beginning, and is nobody's work."""
        if path in (self.backbone, self.classifier):
            with suppress(FileError):
                return read_tensors(path)[1] == NOTES
        return path == self.tasks and all(TASK_FOLDER.fullmatch(folder.name) for folder in _inside(path))


def _inside(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.is_dir() else []


def _is_leftover(path: Path) -> bool:
    """Whether a file is what `files.write_atomic` leaves when it is killed."""
    return path.name.startswith(".") and path.suffix == ".tmp" and path.is_file()


def _remove(files: Iterable[Path]) -> None:
    for file in files:
        with suppress(OSError):  # it stays, unread, until the next change
            file.unlink()


def _remove_folder(folder: Path) -> None:
    with suppress(OSError):  # not there, or somebody put a file of their own into it
        folder.rmdir()
