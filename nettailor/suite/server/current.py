"""The suite that answers now, and the one on disk: taken up when it changes, beside the old one, which ends its requests.

suite.json changed -> load and try the new suite -> exchanged in one assignment
                                                 \\-> broken: the old one goes on answering, `problem` says why
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from blocks import InputSpec
from nettailor.errors import FileError, NettailorError
from nettailor.suite.folder import INDEX

DIGITS = 12  # of a version, for people
log = logging.getLogger("nettailor.serve")
Stamp = tuple[tuple[str, int, int, int], ...]


class Networks(Protocol):
    """What a server asks of a suite."""

    @property
    def tasks(self) -> Sequence[str]:
        """Names."""
        ...

    @property
    def version(self) -> str:
        """Another one after every change on disk."""
        ...

    @property
    def spec(self) -> InputSpec:
        """The pictures that all its networks read."""
        ...

    def classes(self, task: str) -> Sequence[str]:
        """Names of a task's classes, in the order of its logits."""
        ...

    def __call__(self, images: Tensor, tasks: list[str]) -> Mapping[str, Tensor]:
        """uint8 (B, 3, S, S) to each task's logits (B, K)."""
        ...


@dataclass(frozen=True)
class Loaded:
    """One state of a suite: requests that it took in are answered by it to their end."""

    suite: Networks
    version: str
    tasks: tuple[str, ...]
    classes: dict[str, tuple[str, ...]]
    since: str = field(default_factory=lambda: datetime.now(timezone.utc).isoformat(timespec="seconds"))


class CurrentSuite:
    """The suite of a folder, as it was when last looked at."""

    def __init__(self, path: Path, load: Callable[[Path], Networks]) -> None:
        """Load it.

        Raises:
            NettailorError: it can't be loaded; the message names the file.
        """
        self._path = Path(path)
        self._load = load
        self._seen = self._stamp()
        self.now = self._loaded()
        self.problem: str | None = None
        self.taken_up = 0
        self.refused = 0

    def look(self) -> None:
        """Take up what has changed on disk; a suite that can't be loaded changes nothing but `problem`."""
        stamp = self._stamp()
        if self._same(stamp):
            return
        self._seen = stamp
        try:
            self.now = self._loaded()
        except Exception as error:  # whatever is wrong with a new suite, the old one must go on answering
            self.problem = str(error) if isinstance(error, NettailorError) else f"{type(error).__name__}: {error}"
            self.refused += 1
            log.warning("%s: the changed suite can't be loaded, the old one goes on: %s", self._path, self.problem)
            return
        self.problem = None
        self.taken_up += 1
        log.warning("%s: taken up as it is now, %d tasks", self._path, len(self.now.tasks))

    def watch(self, poll: float, stop: threading.Event) -> None:
        """Look every `poll` seconds until `stop`."""
        while not stop.wait(poll):
            self.look()

    def _same(self, stamp: Stamp) -> bool:
        """Nothing is to be loaded: the index is as it was and, where the last try failed, so is every file."""
        if self.problem is not None:
            return stamp == self._seen
        return _index(stamp) == _index(self._seen)

    def _stamp(self) -> Stamp:
        """Name, time, size and inode of every file of the suite; of those that are there at this moment."""
        found = []
        for path in sorted(self._path.rglob("*")):
            try:
                about = path.stat()
            except OSError:
                continue  # removed meanwhile: it is not there, which is what the stamp says
            found.append((path.relative_to(self._path).as_posix(), about.st_mtime_ns, about.st_size, about.st_ino))
        return tuple(found)

    def _loaded(self) -> Loaded:
        suite = self._load(self._path)
        tasks = tuple(suite.tasks)
        if not tasks:
            raise FileError(self._path, "has no task to serve; add one with `nettailor suite add`")
        classes = {task: tuple(suite.classes(task)) for task in tasks}
        blank = torch.zeros(1, 3, suite.spec.size, suite.spec.size, dtype=torch.uint8)
        with torch.inference_mode():
            logits = suite(blank, list(tasks))  # also the warm-up: the first request is as quick as any other
        for task in tasks:
            if tuple(logits[task].shape) != (1, len(classes[task])):
                raise FileError(self._path, f"task {task!r} has {len(classes[task])} classes, but other logits")
        return Loaded(suite, suite.version[:DIGITS], tasks, classes)


def _index(stamp: Stamp) -> tuple[int, int, int] | None:
    return next((about for name, *about in stamp if name == INDEX), None)  # type: ignore[return-value]
