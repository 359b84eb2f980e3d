"""The source pictures: those that a backbone was pretrained on, or others of its kind, beside a target's.

    source.data -> layout -> SourcePictures (train, held out), framed as in pretraining, decoded when they are read
    SourceBatches(seed)(number) -> (uint8 (B, 3, S, S), labels (B,))       what batch `number` holds depends on nothing else

They are never augmented: a run sees few of them more than once.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass as plain
from typing import Annotated, Literal

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor

from blocks import InputSpec
from nettailor.data.config import DataConfig
from nettailor.data.layout import check
from nettailor.data.overlap import same_place, shared_picture
from nettailor.data.splits import Members, held_out
from nettailor.data.task import Split, Task, find_layout
from nettailor.errors import DataError, UsageError
from nettailor.schema import STRICT, Count, Fraction


@dataclass(config=STRICT, frozen=True)
class SourceConfig:
    """Which pictures of the source there are, and which classifier answers for them."""

    data: Annotated[
        str | None,
        Field(description="a directory or zip of class folders, or a torchvision data set; none if left out"),
    ] = None
    classes: Annotated[
        str | None,
        Field(description="regular expression; only classes are used whose whole name matches it; all if left out"),
    ] = None
    crop: Annotated[
        float | None,
        Field(gt=0, le=1, description="part of the shorter side that is kept; as in pretraining if left out"),
    ] = None
    head: Annotated[
        Literal["auto", "kept", "new"],
        Field(
            description="kept: the backbone's own classifier, whose rows are its classes by name, or in the order of their "
            "names; new: one fitted to frozen features; auto: kept where the classes are the backbone's"
        ),
    ] = "auto"
    val_fraction: Annotated[
        Fraction, Field(description="of the training pictures, where there is neither a val nor a test split")
    ] = 0.1
    measured_on: Annotated[
        Count, Field(description="held-out pictures after every pass; before and after the training it is all of them")
    ] = 1000


@plain
class SourcePictures:
    """Source pictures of named classes; nothing of them is decoded yet.

    Attributes:
        held_out: what source accuracy is measured on: the data's val split, else its test split, else a part of train.
        held_out_as: what that is: val, test or train.
        crop: that they are framed with.
    """

    name: str
    classes: list[str]
    train: Split
    held_out: Split
    held_out_as: str
    crop: float

    def some_held_out(self, most: int) -> Split:
        """Up to `most` of the held-out pictures, evenly drawn over the classes; the same at every call."""
        return evenly(self.held_out, most)


def load_source(
    config: SourceConfig,
    data: DataConfig,
    target: Task,
    spec: InputSpec,
    crop: float,
    seed: int = 0,
) -> SourcePictures | None:
    """Find the source pictures; None where none are named.

    Args:
        data: of the target; says where torchvision's data sets are kept.
        target: none of its pictures may be among them.
        spec: what the backbone reads.
        crop: with which the backbone was pretrained.
        seed: of a held-out split that has to be carved.

    Raises:
        DataError, FileError: the data is missing, damaged or unfit.
        UsageError: source and target have pictures in common.
    """
    if config.data is None:
        return None
    layout = find_layout(DataConfig(source=config.data, root=data.root, classes=config.classes), named="source")
    check(layout)
    _refuse_target_classes(layout.source.where, layout.classes, target, same_place(layout.source, target.train.source))
    train, kept, kept_as = held_out(layout.splits, ("val", "test"), config.val_fraction, seed)
    if not kept:
        raise DataError(f"{layout.source.where}: no source pictures left to measure on; set source.val_fraction higher")
    crop = crop if config.crop is None else config.crop

    def split(members: Members) -> Split:
        names, labels = [name for name, _ in members], torch.tensor([label for _, label in members])
        return Split(layout.source, names, labels, spec.size, None, spec.interpolation, crop)

    found = SourcePictures(layout.name, layout.classes, split(train), split(kept), kept_as, crop)
    _refuse_target_pictures(found, target)
    return found


def evenly(split: Split, most: int) -> Split:
    """Up to `most` pictures of a split, as even over the classes as it is itself, without those decoded in memory."""
    order = split.labels.argsort(stable=True)
    if len(order) > most:
        order = order[torch.arange(most) * len(order) // most]
    names = [split.names[row] for row in order.tolist()]
    return Split(split.source, names, split.labels[order], split.size, None, split.interpolation, split.crop)


class SourceBatches:
    """Training batches of a split; batch `number` is the same whatever was read before it.

    Pass after pass in an order that is drawn by seed and pass; a batch may reach from one pass into the next.

    Args:
        split: whose pictures are decoded when they are read, and kept where all of them fit in memory.
        size: pictures in a batch.
        limit: bytes that decoded pictures may take.

    Attributes:
        read: pictures that were handed out so far.
    """

    def __init__(self, split: Split, size: int, seed: int, limit: int = 0) -> None:
        self.split, self.size, self.seed, self.read = split, size, seed, 0
        fits = len(split) * 3 * split.size**2 <= limit
        self._kept = torch.empty(len(split), 3, split.size, split.size, dtype=torch.uint8) if fits else None
        self._has = torch.zeros(len(split), dtype=torch.bool)

    def rows(self, number: int) -> Tensor:
        """The places (B,) in the split of batch `number`."""
        return torch.cat(list(self._rows(number * self.size, (number + 1) * self.size)))

    def __call__(self, number: int) -> tuple[Tensor, Tensor]:
        """Batch `number`: uint8 (B, 3, S, S) and labels (B,).

        Raises:
            DataError: a picture is damaged.
        """
        rows = self.rows(number)
        self.read += len(rows)
        return self._pixels(rows), self.split.labels[rows]

    def _rows(self, first: int, end: int) -> Iterator[Tensor]:
        count = len(self.split)
        while first < end:
            number, place = divmod(first, count)
            part = self._order(number)[place : place + end - first]
            yield part
            first += len(part)

    def _order(self, number: int) -> Tensor:
        generator = torch.Generator().manual_seed(zlib.crc32(f"{self.seed} source {number}".encode()))
        return torch.randperm(len(self.split), generator=generator)

    def _pixels(self, rows: Tensor) -> Tensor:
        if self._kept is None:
            return self.split.batch(rows)
        missing = rows[~self._has[rows]].unique()
        if len(missing):
            self._kept[missing] = self.split.batch(missing)
            self._has[missing] = True
        return self._kept[rows]


def _refuse_target_classes(where: str, classes: list[str], target: Task, one_place: bool) -> None:
    common = [name for name in classes if name in set(target.classes)]
    if one_place and common:
        raise UsageError(
            f"source.data: {where} is also the target, and class {common[0]!r} is in both; name other pictures, or "
            "classes of its own for each with source.classes and data.classes"
        )


def _refuse_target_pictures(found: SourcePictures, target: Task) -> None:
    ours = found.train.source, [*found.train.names, *found.held_out.names]
    theirs = target.train.source, [name for split in ("train", "val", "test") for name in target.split(split).names]
    if (name := shared_picture(ours, theirs)) is not None:
        raise UsageError(
            f"source.data: {found.train.source.where}: {name} is also a picture of the target {target.name}; source and "
            "target must have no picture in common"
        )
