"""Training pictures from processes of their own, the same whatever their number.

plan of an epoch (rows, key) -> DataLoader -> worker: read -> transform, seeded by (key, row) -> uint8 (B, S, S, 3)

The processes stay from epoch to epoch. They are left alone by Ctrl-C, which is the main process's to handle.
"""

from __future__ import annotations

import gc
import multiprocessing
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from blocks import InputSpec
from nettailor.data.images import MemorySource, Source, read_rgb, read_square
from nettailor.data.photos import Photos, shortest_side
from nettailor.data.transforms import PictureTransform, seeded_by
from nettailor.environment import no_interrupts, usable_cores
from nettailor.errors import DataError, NettailorError

MOST = 4
"""Workers that are started where no number is set."""
AHEAD = 2
"""Batches that each worker has ready."""
START = "fork" if sys.platform == "linux" else None
"""How workers start: a fork shares all pictures in memory; elsewhere it is the system's own way."""

Wanted = tuple[list[int], int | None]
"""Rows of a batch, and the key that its augmentations are drawn by: None where there are none."""


@dataclass(frozen=True)
class Pictures(Dataset[Tensor]):
    """What a worker needs of a split, and no more.

    Attributes:
        squares: all pictures as evaluation sees them, uint8 (N, 3, S, S), where they are in memory.
        photos: all pictures as random crops are taken from them, where they are in memory.
        transform: of each picture; None to hand out squares.
        crops: whether the transform takes its crops from the whole picture.
    """

    source: Source
    names: list[str]
    spec: InputSpec
    squares: Tensor | None
    photos: Photos | None
    transform: PictureTransform | None
    crops: bool

    def __getitem__(self, wanted: Wanted) -> NDArray[np.uint8] | str:  # type: ignore[override]
        """A batch, uint8 (B, S, S, 3); or what is wrong with one of its pictures, as no exception keeps its type and text.

        An array goes through a pipe. A tensor would need shared memory, of which containers often have little.
        """
        rows, key = wanted
        try:
            if self.transform is None or key is None:
                return torch.stack([self._square(row).permute(1, 2, 0) for row in rows]).numpy()
            return torch.stack([self._augmented(row, key) for row in rows]).numpy()
        except NettailorError as error:
            return str(error)

    def _square(self, row: int) -> Tensor:
        if self.squares is not None:
            return self.squares[row]
        return read_square(self.source, self.names[row], self.spec.size, self.spec.interpolation, self.spec.crop)

    def _augmented(self, row: int, key: int) -> Tensor:
        """uint8 (S, S, 3)."""
        assert self.transform is not None
        if not self.crops:
            picture = Image.fromarray(self._square(row).permute(1, 2, 0).numpy())
        elif self.photos is not None:
            picture = self.photos[row]
        else:
            picture = read_rgb(self.source, self.names[row], shortest_side(self.spec))
        with seeded_by(key, row):
            return self.transform(picture).permute(1, 2, 0)


class _Plan(Sampler[Wanted]):
    """The batches of the epoch that is about to run."""

    def __init__(self) -> None:
        self.batches: list[Wanted] = []

    def __iter__(self) -> Iterator[Wanted]:
        return iter(self.batches)


class Loader:
    """Batches of pictures, epoch after epoch, from the same processes.

    Args:
        workers: processes; 0 reads in this one.
    """

    def __init__(self, pictures: Pictures, workers: int) -> None:
        self.pictures, self.workers = pictures, workers
        self._plan, self._epochs = _Plan(), 0
        self._loader = self._unstarted()

    def _unstarted(self) -> DataLoader[Tensor]:
        self._started, workers = False, self.workers
        return DataLoader(
            self.pictures,
            batch_size=None,  # batches are the plan's, and so are their rows
            sampler=self._plan,
            num_workers=workers,
            collate_fn=_as_it_is,
            worker_init_fn=_begin_worker,
            multiprocessing_context=START if workers else None,
            generator=torch.Generator(),  # the default one is the training's, and must not be drawn from
            prefetch_factor=AHEAD if workers else None,
            persistent_workers=workers > 0,
        )

    def batches(self, plan: list[Tensor], key: int | None) -> Iterator[Tensor]:
        """The pictures of one epoch, uint8 (B, 3, S, S), channels last in memory, for each tensor of rows in the plan.

        Raises:
            DataError: a picture is damaged, or a worker was killed.
        """
        self._epochs += 1
        epoch = self._epochs
        self._plan.batches = [(rows.tolist(), key) for rows in plan]
        try:
            with no_interrupts(), nullcontext() if self._started else _no_collection():
                found = iter(self._loader)
            self._started = True
            for _ in plan:
                if epoch != self._epochs:
                    raise RuntimeError("a later epoch of the same pictures has begun; only one can run at a time")
                images = next(found)
                if isinstance(images, str):
                    del found  # what the traceback holds on to would end its workers late, and slowly
                    self._loader = self._unstarted()
                    raise DataError(images)
                yield torch.from_numpy(images).permute(0, 3, 1, 2)
        except RuntimeError as error:
            if "DataLoader worker" not in str(error):
                raise
            raise DataError(
                f"a process that reads pictures has ended ({str(error).splitlines()[0]}); "
                f"if memory is short, set data.workers=0"
            ) from error


def worker_count(wanted: int | None, source: Source) -> int:
    """Processes that read a split's pictures.

    Args:
        wanted: the recipe's; None for a number that leaves the training a core.
    """
    if multiprocessing.current_process().daemon or (START != "fork" and isinstance(source, MemorySource)):
        return 0  # a daemon may start no process; what only this process holds can't be sent to another
    return max(0, min(MOST, usable_cores() - 1)) if wanted is None else wanted


def _as_it_is(batch: Any) -> Any:
    return batch


@contextmanager
def _no_collection() -> Iterator[None]:
    """Collect garbage now and not inside: a loader that is garbage must end its workers here, not in a new worker."""
    enabled = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _begin_worker(worker: int) -> None:
    """Leave Ctrl-C to the main process, and what came from it to its garbage collection: both of memory and of loaders."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    gc.freeze()
    gc.enable()
