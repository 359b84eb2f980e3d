"""One time axis through all stages of a run, and every gate along it; kept with the checkpoints, so both survive a kill.

    teacher 0 .. 340 | student 340 .. 442 | prune-1 442 .. 476 | ...      steps of the optimiser; (stage, pass) -> step

A step depends on (stage, pass) alone, and what was recorded once is not recorded again: a run that goes on draws on and not
anew.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from nettailor.errors import FileError
from nettailor.files import read_tensors, write_tensors

NAME = "timeline.safetensors"


@dataclass
class Stage:
    """One stage of a run.

    Attributes:
        steps: of the optimiser in a pass.
        done: passes behind it.
        recorded: passes whose figures are in the event file.
        val_accuracy: after the last of these.
        paths_macs: of the student's paths then, as a part of all universal blocks'; None where there is no student.
    """

    steps: int
    done: int = 0
    recorded: int = 0
    val_accuracy: float | None = None
    paths_macs: float | None = None


@dataclass
class Timeline:
    """Stages in their order, and the gates after every pass of a student.

    Args:
        folder: of the checkpoints; None keeps nothing on disk.

    Attributes:
        gates: by stage and pass, (L, 1 + k); not a number where a path is removed or there is none.
    """

    folder: Path | None = None
    stages: dict[str, Stage] = field(default_factory=dict)
    gates: dict[tuple[str, int], Tensor] = field(default_factory=dict)

    @classmethod
    def read(cls, folder: Path) -> Timeline:
        """The timeline of a run that goes on, or an empty one. A file that can't be read costs only the pictures so far."""
        result = cls(folder)
        if not (folder / NAME).is_file():
            return result
        try:
            tensors, notes = read_tensors(folder / NAME)
            result.stages = {name: Stage(**entry) for name, entry in notes["stages"].items()}
            places = [(str(stage), int(number)) for stage, number in notes["gates"]]
        except (FileError, KeyError, TypeError, ValueError):
            return cls(folder)
        result.gates = dict(zip(places, tensors["gates"], strict=True)) if places else {}
        return result

    def write(self) -> None:
        """Keep it."""
        if self.folder is None:
            return
        tensors = {"gates": torch.stack(list(self.gates.values()))} if self.gates else {}
        stages = {name: asdict(stage) for name, stage in self.stages.items()}
        write_tensors(self.folder / NAME, tensors, {"stages": stages, "gates": [list(place) for place in self.gates]})

    def begin(self, stage: str, done: int, steps: int) -> None:
        """A stage stands at `done` passes of `steps` steps each."""
        entry = self.stages.setdefault(stage, Stage(steps))
        entry.done, entry.steps = done, steps

    def step(self, stage: str, epoch: int) -> int:
        """The step after `epoch` passes of a stage."""
        before = 0
        for name, entry in self.stages.items():
            if name == stage:
                return before + epoch * entry.steps
            before += entry.done * entry.steps
        raise KeyError(stage)

    @property
    def now(self) -> int:
        """Steps of all stages so far."""
        return sum(entry.done * entry.steps for entry in self.stages.values())

    def columns(self) -> list[tuple[str, int, int, Tensor]]:
        """Every pass of a student: stage, first and last step, gates."""
        found = []
        for (stage, epoch), gates in self.gates.items():
            last = self.step(stage, epoch)
            found.append((stage, last - self.stages[stage].steps, last, gates))
        return sorted(found, key=lambda column: column[2])
