"""What is needed to go on after an interruption: one safetensors file per stage, replaced after every epoch.

    checkpoint/teacher.safetensors      the net's own tensors, the optimiser's, and notes (epoch, history, seconds)

A file is written whole or not at all, so a kill at any moment costs the epoch that was running and nothing more.
"""

from __future__ import annotations

import shutil
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from nettailor.errors import FileError
from nettailor.files import read_tensors, write_atomic, write_tensors


class Checkpoints:
    """The checkpoint folder of one run. Without a folder nothing is kept and nothing is found."""

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder

    def save(self, stage: str, tensors: dict[str, Tensor], notes: dict[str, Any]) -> None:
        """Replace the checkpoint of a stage."""
        if self.folder is not None:
            write_tensors(self.folder / f"{stage}.safetensors", tensors, notes)

    def load(self, stage: str) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
        """The last checkpoint of a stage, or None."""
        if self.folder is None or not (path := self.folder / f"{stage}.safetensors").exists():
            return None
        return read_tensors(path)

    def has(self, stage: str) -> bool:
        """Whether a stage has been checkpointed."""
        return self.folder is not None and (self.folder / f"{stage}.safetensors").exists()

    def hand_over(self, stage: str, folder: Path, seconds: float) -> None:
        """Write the net of a finished stage into `folder`, as a checkpoint from which another run can begin.

        The optimiser's state is left out: a stage that is finished does not go on.

        Args:
            seconds: that the whole stage took.
        """
        kept = self.load(stage)
        if kept is not None:
            tensors = {name: tensor for name, tensor in kept[0].items() if name.startswith("net.")}
            write_tensors(folder / f"{stage}.safetensors", tensors, {**kept[1], "seconds": seconds})

    def take_over(self, folder: Path) -> dict[str, float]:
        """Begin where the finished stages in `folder` ended; what is here already stays.

        Returns:
            The seconds of each stage that was taken over now.
        """
        taken: dict[str, float] = {}
        if self.folder is None:
            return taken
        for path in sorted(folder.glob("*.safetensors")):
            if not (self.folder / path.name).exists():
                write_atomic(self.folder / path.name, partial(shutil.copyfile, path))
                taken[path.stem] = read_tensors(path)[1]["seconds"]
        return taken

    def drop(self, stage: str) -> None:
        """Remove the checkpoint of a stage whose result is kept elsewhere by now."""
        if self.folder is not None:
            (self.folder / f"{stage}.safetensors").unlink(missing_ok=True)

    def remove(self) -> None:
        """Remove the folder; the run is over."""
        if self.folder is not None and self.folder.exists():
            shutil.rmtree(self.folder)


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """An optimiser's state as named tensors; SGD without momentum has none."""
    state = optimizer.state_dict()["state"]
    named = {f"{index}.{name}": value for index, values in state.items() for name, value in values.items()}
    return {name: value for name, value in named.items() if value is not None}


def restore_optimizer(optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    """Give an optimiser over the same parameters the state that `optimizer_tensors` named."""
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        index, _, name = key.partition(".")
        state.setdefault(int(index), {})[name] = value
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})


def restore(own: dict[str, Tensor], saved: dict[str, Tensor], where: Path | str) -> None:
    """Copy saved tensors into a net's own, in place.

    Raises:
        FileError: names or shapes differ.
    """
    wanted = {name: tuple(tensor.shape) for name, tensor in own.items()}
    found = {name: tuple(tensor.shape) for name, tensor in saved.items()}
    if wanted != found:
        odd = sorted(set(wanted.items()) ^ set(found.items()))[0][0]
        raise FileError(where, f"tensor {odd!r} does not fit this network")
    with torch.no_grad():
        for name, tensor in own.items():
            tensor.copy_(saved[name])
