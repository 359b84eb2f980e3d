"""A part of a data set: some classes with so many pictures each, or some pictures of all classes.

Layout -> some_classes -> Layout of these classes -> per_class -> so many pictures of each
data choice -> sampled -> Split of at most so many training pictures
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import torch

from blocks import InputSpec
from nettailor.data.config import DataConfig
from nettailor.data.images import Source
from nettailor.data.layout import Layout, check
from nettailor.data.splits import Members, carve, thinned
from nettailor.data.task import Split, find_layout
from nettailor.errors import DataError


def some_classes(layout: Layout, count: int | None, seed: int) -> Layout:
    """A layout of `count` of its classes, drawn by the seed: a smaller number has some of those that a larger one has.

    Raises:
        DataError: there are fewer.
    """
    if count is None or count == len(layout.classes):
        return layout
    if count > len(layout.classes):
        raise DataError(f"{layout.source.where}: has {len(layout.classes)} classes, {count} are asked for")
    order = torch.randperm(len(layout.classes), generator=torch.Generator().manual_seed(seed))[:count]
    kept = sorted(order.tolist())
    number = {old: new for new, old in enumerate(kept)}
    splits = {
        split: [(name, number[label]) for name, label in members if label in number]
        for split, members in layout.splits.items()
    }
    return replace(layout, classes=[layout.classes[old] for old in kept], splits=splits)


def per_class(layout: Layout, seed: int, total: int | None = None, each: int | None = None) -> Members:
    """So many of a layout's training pictures: `each` of every class, or `total` shared out evenly; all if neither is given.

    Raises:
        DataError: a class has fewer than its share.
    """
    members, classes = layout.splits["train"], layout.classes
    if total is None and each is None:
        return members
    share, rest = (each, 0) if each is not None else divmod(total or 0, len(classes))
    wanted = {label: share + (place < rest) for place, label in enumerate(classes)}
    there = Counter(classes[label] for _, label in members)
    for label, count in wanted.items():
        if there[label] < count or count == 0:
            asked = f"{each} of each class are" if each is not None else f"{total} of {len(classes)} classes are"
            raise DataError(
                f"{layout.source.where}: {asked} asked for, but {label!r} has {there[label]} training pictures"
                + (f", not {count}" if count else "")
            )
    ordered = {size: thinned(members, classes, DataConfig(per_class=size), seed) for size in set(wanted.values())}
    return [member for label, name in enumerate(classes) for member in ordered[wanted[name]] if member[1] == label]


def sampled(
    config: DataConfig, spec: InputSpec, count: int, seed: int, fetch: bool = True, named: str = "data"
) -> Split:
    """At most `count` training pictures of a data set, drawn by the seed, whatever their classes; none is decoded yet.

    Args:
        config: which pictures; those that it leaves out of training (`per_class`, `thin`) are drawn as well.
        fetch: download a data set of torchvision that is not there.
        named: the section of the recipe that names the pictures, for messages.

    Raises:
        DataError, FileError: the data is missing or unfit; the message names the folder or file.
    """
    layout = find_layout(config, fetch, named)
    check(layout)
    members = carve(layout, replace(config, per_class=None, thin={}), seed)["train"]
    return drawn(layout.source, members, spec, count, seed)


def drawn(source: Source, members: Members, spec: InputSpec, count: int, seed: int) -> Split:
    """At most `count` of some pictures, drawn by the seed, in their order; none is decoded yet."""
    order = torch.randperm(len(members), generator=torch.Generator().manual_seed(seed))[:count]
    chosen = [members[place] for place in sorted(order.tolist())]
    labels = torch.tensor([label for _, label in chosen])
    return Split(source, [name for name, _ in chosen], labels, spec.size, None, spec.interpolation, spec.crop)
