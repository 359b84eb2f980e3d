"""A run's folder: whose it is, whether it is finished, and what may be written into it.

new or empty folder         -> begin            report.json, same recipe    -> finished, nothing runs again
recipe.yaml, same recipe    -> go on            anything else               -> refused, nothing is touched
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from nettailor.artifacts.lock import is_lock, lock_folder
from nettailor.artifacts.report import Report
from nettailor.config.loading import differences
from nettailor.data.task import Task
from nettailor.errors import FileError
from nettailor.files import read_json, write_json
from nettailor.training.checkpoint import Checkpoints

if TYPE_CHECKING:
    from typing_extensions import Self


class RunRecipe(Protocol):
    """What a run's folder needs of a recipe (`nettailor.jobs.recipe.Recipe`)."""

    def as_dict(self) -> dict[str, Any]: ...

    def write(self, path: Path) -> None: ...

    @classmethod
    def read(cls, path: Path) -> Self: ...


@dataclass(frozen=True)
class RunFolder:
    """The places inside a run's folder."""

    root: Path

    @property
    def recipe(self) -> Path:
        """The resolved recipe."""
        return self.root / "recipe.yaml"

    @property
    def report(self) -> Path:
        """The figures; its presence means that the run is finished."""
        return self.root / "report.json"

    @property
    def delta(self) -> Path:
        """The folder of the delta."""
        return self.root / "task"

    @property
    def split(self) -> Path:
        """Which picture was in which split."""
        return self.root / "split.json"

    @property
    def costs(self) -> Path:
        """The cost table of a run that counts milliseconds."""
        return self.root / "costs.json"

    @property
    def front(self) -> Path:
        """The curve of accuracy against cost, where the recipe asks for it; its picture stands beside it."""
        return self.root / "front.json"

    @property
    def predictions(self) -> Path:
        """What teacher and compact net say of every picture of the validation and test split."""
        return self.root / "predictions.json"

    @property
    def confusion(self) -> Path:
        """Which classes the compact net takes for which on the test split; its picture stands beside it."""
        return self.root / "confusion.json"

    @property
    def source(self) -> Path:
        """Source accuracy and general discrimination after every pass, where the recipe names pictures for them."""
        return self.root / "source.json"

    @property
    def nets(self) -> Path:
        """The finished teacher and student, from which `nettailor prune` begins."""
        return self.root / "nets"

    @property
    def seconds(self) -> Path:
        """Where the time went so far, while the run is not finished."""
        return self.checkpoints_folder / "seconds.json"

    @property
    def checkpoints(self) -> Checkpoints:
        """What is needed to go on."""
        return Checkpoints(self.checkpoints_folder)

    @property
    def checkpoints_folder(self) -> Path:
        """Where that lies."""
        return self.root / "checkpoint"

    def look(self, recipe: RunRecipe) -> Report | None:
        """See whether the folder is free for this recipe or its own; returns the report if the run is finished already.

        Nothing is written: that waits until the pictures and the backbone have been found.

        Raises:
            FileError: the folder holds another run or something else.
        """
        if self.recipe.is_file():
            there = type(recipe).read(self.recipe)
            if changed := differences(there.as_dict(), recipe.as_dict()):
                shown = ", ".join(list(changed.values())[:3])
                raise FileError(
                    self.root, f"holds another run (with {shown}); choose another --out, or remove the folder"
                )
            return Report.read(self.report) if self.report.is_file() else None
        if self.root.is_dir() and all(_is_leftover(path) or is_lock(path) for path in self.root.iterdir()):
            return None
        if self.root.exists():
            raise FileError(self.root, "is not empty and holds no run; choose another --out")
        return None

    @contextmanager
    def owned(self, recipe: RunRecipe) -> Iterator[bool]:
        """Be the only process that works on the folder, which is made where there is none.

        Yields:
            Whether it is locked: False where the file system has no locks.

        Raises:
            FolderLockedError: another process works on it.
            FileError: the folder can't be made or written, or another process has begun or finished a run in it since `look`.
        """
        try:
            self.root.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise FileError(self.root, f"can't be made ({error.strerror}); choose another --out") from error
        with lock_folder(self.root) as locked:
            if self.look(recipe) is not None:
                raise FileError(
                    self.root, "was finished by another process just now; the same command shows its figures"
                )
            yield locked

    def begin(self, recipe: RunRecipe, task: Task) -> str:
        """Make the folder this recipe's own and write down who is in which split; returns the pictures' fingerprint.

        Call it where the folder is `owned`. In a run that goes on, the pictures are held to what was written down. What a
        killed write left is removed.

        Raises:
            FileError: the folder can't be written, or the pictures are not those with which the run began.
        """
        for path in self.root.rglob(".*.tmp"):
            if _is_leftover(path):
                path.unlink(missing_ok=True)
        if not self.recipe.is_file():
            recipe.write(self.recipe)
        return self._settle_split(task)

    def _settle_split(self, task: Task) -> str:
        fingerprint = task.fingerprint()
        if self.split.is_file():
            if read_json(self.split)["sha256"] not in (fingerprint, self._older_fingerprint(task)):
                raise FileError(
                    self.split, "the pictures have changed since this run began; remove the folder to begin anew"
                )
        else:
            write_json(self.split, {"sha256": fingerprint, "skipped": task.skipped, **task.record()})
        return fingerprint

    @staticmethod
    def _older_fingerprint(task: Task) -> str | None:
        """What runs of version 0.1.0 wrote for pictures that are not in memory: names and labels alone."""
        streamed = all(split.images is None for split in (task.train, task.val, task.test))
        return task.fingerprint(pixels=False) if streamed else None


def _is_leftover(path: Path) -> bool:
    """Whether a file is what `files.write_atomic` leaves when it is killed."""
    return path.name.startswith(".") and path.suffix == ".tmp" and path.is_file()
