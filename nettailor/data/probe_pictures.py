"""Pictures of classes that nothing was trained on: what general discrimination is measured with.

probe.data -> classes of neither source nor target -> ProbePictures: gallery (its training split), queries (its test split)
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass as plain
from typing import Annotated

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass

from blocks import InputSpec
from nettailor.data.class_names import common_names
from nettailor.data.config import DataConfig
from nettailor.data.layout import Layout, check
from nettailor.data.overlap import same_place, shared_picture
from nettailor.data.source import SourcePictures
from nettailor.data.splits import Members, held_out
from nettailor.data.task import Split, Task, find_layout
from nettailor.errors import DataError, UsageError
from nettailor.schema import STRICT, Count


@dataclass(config=STRICT, frozen=True)
class ProbeConfig:
    """Which pictures general discrimination is measured with, and how."""

    data: Annotated[
        str | None,
        Field(
            description="a directory or zip of class folders, or a torchvision data set, of classes of neither source nor "
            "target; none if left out"
        ),
    ] = None
    classes: Annotated[
        str | None,
        Field(
            description="regular expression on whole names of classes; left out, all, or of the target's own data those "
            "that data.classes leaves"
        ),
    ] = None
    neighbours: Annotated[Count, Field(description="that vote on a picture's class, by the cosine of h")] = 5


@plain
class ProbePictures:
    """Pictures of classes that nothing was trained on."""

    name: str
    classes: list[str]
    gallery: Split
    queries: Split


def load_probe(
    config: ProbeConfig,
    data: DataConfig,
    target: Task,
    source: SourcePictures | None,
    source_classes: Sequence[str],
    spec: InputSpec,
    seed: int = 0,
) -> ProbePictures | None:
    """Find and decode the pictures of the probe; None where none are named.

    Args:
        data: of the target.
        source: pictures of the source, where there are any.
        source_classes: what the backbone was pretrained on, where that is known.
        seed: of a test split that has to be carved.

    Raises:
        DataError, FileError: the data is missing, damaged or unfit.
        UsageError: a class, or a picture, is one of source or target.
    """
    if config.data is None:
        return None
    classes = config.classes
    if classes is None and (others := _left_by_target(config.data, data, target)) is not None:
        classes = "|".join(re.escape(name) for name in others)
    layout = find_layout(DataConfig(source=config.data, root=data.root, classes=classes), named="probe")
    check(layout)
    _refuse_trained(layout, target, source, source_classes)
    gallery, queries, _ = held_out(layout.splits, ("test", "val"), data.test_fraction, seed)
    if not queries:
        raise DataError(f"{layout.source.where}: no pictures left to ask for; it needs a test split, or more pictures")

    def split(members: Members) -> Split:
        names, labels = [name for name, _ in members], torch.tensor([label for _, label in members])
        found = Split(layout.source, names, labels, spec.size, None, spec.interpolation, spec.crop)
        if len(found) * 3 * spec.size**2 <= data.memory_gib * 2**30:
            found.images = found.batch(torch.arange(len(found)))
        return found

    return ProbePictures(layout.name, layout.classes, split(gallery), split(queries))


def _left_by_target(named: str, data: DataConfig, target: Task) -> list[str] | None:
    """Classes of the target's own data that the target leaves; None where the probe's data is another.

    Raises:
        UsageError: it leaves fewer than two.
    """
    layout = find_layout(DataConfig(source=named, root=data.root), named="probe")
    if not same_place(layout.source, target.train.source):
        return None
    left = [name for name in layout.classes if name not in set(target.classes)]
    if len(left) < 2:
        raise UsageError(
            f"probe.data: {layout.source.where} is also the target, which trains on {len(layout.classes) - len(left)} of "
            f"its {len(layout.classes)} classes; leave some out of the target with data.classes"
        )
    return left


def _refuse_trained(found: Layout, target: Task, source: SourcePictures | None, source_classes: Sequence[str]) -> None:
    trained = [("the target", target.train.source, target.classes, target.train.names)]
    if source is not None:
        trained.append(("the source", source.train.source, source.classes, source.train.names))
    ours = found.source, [name for members in found.splits.values() for name, _ in members]
    for whose, place, classes, names in trained:
        one_place = same_place(found.source, place)
        common = [name for name in found.classes if name in set(classes)] if one_place else []
        if common := common or common_names(found.classes, classes):
            raise _trained(found, f"class {common[0]!r} is also one of {whose}")
        if (name := shared_picture(ours, (place, names))) is not None:
            raise _trained(found, f"{name} is also a picture of {whose}")
    if common := common_names(found.classes, source_classes):
        raise _trained(found, f"the backbone was pretrained on class {common[0]!r}")


def _trained(found: Layout, reason: str) -> UsageError:
    return UsageError(
        f"probe.data: {found.source.where}: {reason}; the probe wants classes that nothing was trained on: choose "
        "them with probe.classes"
    )
