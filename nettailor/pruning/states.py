"""What the task owns of a student at some moment, to go back to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from blocks import TailoredNet
from blocks.warm_start import thinned_paths
from nettailor.training.checkpoint import restore
from nettailor.training.run import Run
from nettailor.training.stages import BEGUN

OWN = "net."  # so the tensors of a stage are named that are handed over to another run


def snapshot(student: TailoredNet) -> dict[str, Tensor]:
    """A copy of all that the task owns, fades included."""
    return {name: tensor.detach().clone() for name, tensor in student.task_tensors().items()}


@dataclass(frozen=True)
class Begun:
    """What the task owned of a student before it was trained."""

    tensors: Mapping[str, Tensor]

    @classmethod
    def of(cls, student: TailoredNet, run: Run) -> Begun | None:
        """Of a student that has begun: kept for a run that goes on, or for another that takes it over, and put into it there.

        None where no block can be thinned, so that it isn't needed, or where it is trained already and nothing was kept, by
        an earlier version.
        """
        if not thinned_paths(student):
            return None
        kept = run.checkpoints.load(BEGUN)
        if kept is not None:
            device = student.gates.fade.device
            begun = cls({name.removeprefix(OWN): tensor.to(device) for name, tensor in kept[0].items()})
            begun.put_into(student)
            return begun
        if run.checkpoints.has("student"):
            return None
        found = cls(snapshot(student))
        run.checkpoints.save(BEGUN, {OWN + name: tensor for name, tensor in found.tensors.items()}, {})
        return found

    def put_into(self, student: TailoredNet) -> None:
        """Give them to a student of the same paths."""
        restore(student.task_tensors(), dict(self.tensors), BEGUN)
