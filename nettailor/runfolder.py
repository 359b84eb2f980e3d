"""A run's folder: whose it is, whether it is finished, and what may be written into it (DESIGN section 5).

new or empty folder         -> begin            report.json, same recipe    -> finished, nothing runs again
recipe.yaml, same recipe    -> go on            anything else               -> refused, nothing is touched
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from nettailor.checkpoint import Checkpoints
from nettailor.errors import FileProblem
from nettailor.files import read_json, write_json
from nettailor.recipe import Recipe, differences, read_recipes
from nettailor.report import Report
from nettailor.task import Task


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
    def checkpoints(self) -> Checkpoints:
        """What is needed to go on."""
        return Checkpoints(self.root / "checkpoint")

    def claim(self, recipe: Recipe) -> Report | None:
        """Make the folder this recipe's own; returns the report if the run is finished already.

        Raises:
            FileProblem: the folder holds another run or something else, or can't be written.
        """
        if self.recipe.is_file():
            (there,) = read_recipes(self.recipe)
            if changed := differences(there, recipe):
                shown = ", ".join(changed[:3])
                raise FileProblem(
                    self.root, f"holds another run ({shown} differs); choose another --out, or remove the folder"
                )
            return Report.read(self.report) if self.report.is_file() else None
        if self.root.exists() and (not self.root.is_dir() or any(self.root.iterdir())):
            raise FileProblem(self.root, "is not empty and holds no run; choose another --out")
        try:
            self.root.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise FileProblem(self.root, f"can't be made ({error.strerror}); choose another --out") from error
        recipe.write(self.recipe)
        return None

    def settle_split(self, task: Task) -> str:
        """Write down who is in which split, or hold the pictures to what was written; returns their fingerprint.

        Raises:
            FileProblem: the pictures are not those with which the run began.
        """
        fingerprint = task.fingerprint()
        if self.split.is_file():
            if read_json(self.split)["sha256"] != fingerprint:
                raise FileProblem(
                    self.split, "the pictures have changed since this run began; remove the folder to begin anew"
                )
        else:
            write_json(self.split, {"sha256": fingerprint, "skipped": task.skipped, **task.record()})
        return fingerprint
