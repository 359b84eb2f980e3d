"""A task: named classes and three splits of pictures, ready for one backbone's input.

    data choice -> layout (which picture is in which split and class) -> splits decoded to uint8 squares -> Task

Choices are made on `val`; `test` is read once, at the end. A split that the data lacks is carved out of the training
pictures, stratified by class, by the run's seed; which picture went where is written down in the run's `split.json`.
"""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import repeat
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from blocks import InputSpec
from nettailor.data.augment import crops
from nettailor.data.config import DataConfig
from nettailor.data.datasets import DIGITS, digits, is_named, torchvision_source
from nettailor.data.images import FolderSource, Source, ZipSource, content_hash, read_rgb, read_square, square
from nettailor.data.layout import SPLITS, Layout, check, class_folders, only_classes
from nettailor.data.loader import Loader
from nettailor.data.photos import Photos, shortest_side
from nettailor.data.splits import Members, carve, recorded
from nettailor.errors import DataError, FileError, NettailorError

DECODERS = 4
TOGETHER = 64  # pictures that are decoded before those of random crops are put away


@dataclass
class Split:
    """Pictures of one split with their labels (N,), `images` (N, 3, S, S) uint8 as evaluation sees them.

    `images` is None where they do not fit in memory. `size`, `interpolation` and `crop` are a backbone's (`InputSpec`).
    `photos` are the same pictures as random crops are taken from them, where training takes such and they fit, too.
    """

    source: Source
    names: list[str]
    labels: Tensor
    size: int
    images: Tensor | None = None
    interpolation: str = "bilinear"
    crop: float = 1.0
    photos: Photos | None = None
    loader: tuple[object, Loader] | None = field(default=None, init=False, repr=False, compare=False)
    """What reads training batches, with the settings that it was made for; it belongs to this process alone."""

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "loader": None}

    def __len__(self) -> int:
        return len(self.names)

    def batch(self, rows: Tensor) -> Tensor:
        """The pictures at `rows`, uint8 (B, 3, S, S)."""
        if self.images is not None:
            return self.images[rows]
        with ThreadPoolExecutor(DECODERS) as pool:
            framing = self.size, self.interpolation, self.crop
            wanted = [self.names[row] for row in rows.tolist()]
            return torch.stack(list(pool.map(lambda name: read_square(self.source, name, *framing), wanted)))


@dataclass
class Task:
    """A recognition task: a name, its classes and its splits."""

    name: str
    classes: list[str]
    train: Split
    val: Split
    test: Split
    size: int
    skipped: list[str] = field(default_factory=list)

    def split(self, name: str) -> Split:
        """One of train, val and test by its name."""
        return {"train": self.train, "val": self.val, "test": self.test}[name]

    def record(self) -> dict[str, dict[str, list[str]]]:
        """Which picture is in which split, by class: what `split.json` holds."""
        result: dict[str, dict[str, list[str]]] = {}
        for name in SPLITS:
            split = self.split(name)
            by_class: dict[str, list[str]] = {label: [] for label in self.classes}
            for picture, label in zip(split.names, split.labels.tolist(), strict=True):
                by_class[self.classes[label]].append(picture)
            result[name] = by_class
        return result

    def fingerprint(self, pixels: bool = True) -> str:
        """A hash of every split's names and labels, and of its pixels where they are in memory, its files where not.

        Args:
            pixels: without them it is what runs of version 0.1.0 wrote for pictures that are not in memory.

        Raises:
            DataError: a picture that is not in memory can't be read.
        """
        digest = hashlib.sha256()
        for name in SPLITS:
            split = self.split(name)
            digest.update(repr((name, split.names, split.labels.tolist())).encode())
            if pixels and split.images is not None:
                digest.update(split.images.numpy().tobytes())
            elif pixels:
                with ThreadPoolExecutor(DECODERS) as pool:
                    for picture in pool.map(content_hash, repeat(split.source), split.names):
                        digest.update(picture)
        return digest.hexdigest()


def load_task(
    config: DataConfig | str,
    spec: InputSpec | int,
    seed: int = 0,
    name: str | None = None,
    record: Path | None = None,
) -> Task:
    """Find, split and decode the pictures of a task.

    Args:
        config: the recipe's data section, or just its source.
        spec: the pictures that the backbone reads, or just the side of the squares in pixels.
        seed: of the splits that have to be carved out.
        name: of the task; the data's own if left out.
        record: a run's `split.json`, whose splits are taken instead of carving them anew.

    Raises:
        DataError, FileError: the data is missing, damaged or unfit; the message names the folder or file.
    """
    if isinstance(config, str):
        config = DataConfig(source=config)
    spec = InputSpec(spec, (0.5,) * 3, (0.5,) * 3) if isinstance(spec, int) else spec
    size = spec.size
    layout = find_layout(config)
    check(layout)
    skipped = _drop_unreadable(layout) if config.skip_bad else []
    splits = {split: recorded(layout, record, split) for split in SPLITS} if record else carve(layout, config, seed)
    bytes_needed = sum(len(members) for members in splits.values()) * 3 * size * size
    limit = int(config.memory_gib * 2**30)
    in_memory = bytes_needed <= limit
    photos = Photos(shortest_side(spec), spec.interpolation, limit - bytes_needed) if crops(config) else None
    kept = {"train": photos}
    made = {
        split: _decode(layout.source, members, spec, in_memory, kept.get(split)) for split, members in splits.items()
    }
    task = Task(
        check_name(name or layout.name), layout.classes, made["train"], made["val"], made["test"], size, skipped
    )
    check_splits(task)
    return task


def load_split(
    config: DataConfig,
    spec: InputSpec,
    name: str | None,
    seed: int = 0,
    record: Path | None = None,
    fetch: bool = True,
) -> tuple[list[str], str | None, Split]:
    """The classes of a data config, and one split of it alone with its name (None: all there is).

    Args:
        name: of the split; if left out, test, or all there is where the data has no splits of its own.
        seed: of the splits that have to be carved out.
        record: a run's `split.json`, whose splits are taken instead of carving them anew.
        fetch: download a data set of torchvision that is not there.

    Raises:
        DataError, FileError: the data is missing, damaged or unfit; the message names the folder or file.
    """
    layout = find_layout(config, fetch)
    check(layout)
    wanted = name or "test"
    taken: str | None = wanted
    if record is not None:
        layout.splits = {wanted: recorded(layout, record, wanted)}
    if config.skip_bad:
        _drop_unreadable(layout)
    if record is not None:
        members = layout.splits[wanted]
    elif name is None and list(layout.splits) == ["train"]:
        taken, members = None, layout.splits["train"]
    else:
        members = carve(layout, config, seed)[wanted]
    if not members:
        raise DataError(f"{layout.source.where}: no pictures left for {taken or 'it'}; give more, or another --split")
    in_memory = len(members) * 3 * spec.size**2 <= config.memory_gib * 2**30
    return layout.classes, taken, _decode(layout.source, members, spec, in_memory)


def find_layout(config: DataConfig, fetch: bool = True, named: str = "data") -> Layout:
    """The pictures behind a data config, as they lie. The name of a data set goes before a folder that is called so.

    Args:
        fetch: download a data set of torchvision that is not there.
        named: the section of the recipe that names the pictures, for messages.

    Raises:
        DataError, FileError: nothing is there, or too few of its classes are wanted.
    """
    return only_classes(_whole_layout(config, fetch, named), config.classes, f"{named}.classes")


def _whole_layout(config: DataConfig, fetch: bool, named: str) -> Layout:
    option = "--data" if named == "data" else f"{named}.data"
    path = data_path(config.source)
    if path is not None and path.is_dir():
        return class_folders(FolderSource(path), path.name or path.resolve().name)
    if path is not None and path.is_file():
        return class_folders(ZipSource(path), path.stem)
    if config.source == DIGITS:
        source, classes, splits = digits()
        return Layout(source, DIGITS, classes, splits)
    if "/" in config.source or Path(config.source).suffix:
        raise FileError(config.source, f"no such directory or zip; give {option} a directory or zip of class folders")
    source, classes, splits = torchvision_source(config.source, Path(config.root).expanduser(), fetch, option)
    return Layout(source, config.source.lower(), classes, splits)


def data_path(source: str) -> Path | None:
    """The directory or zip that a data source means; None where it is the name of a data set, or nothing is there."""
    path = Path(source).expanduser()
    return path if not is_named(source) and path.exists() else None


def check_splits(task: Task) -> None:
    """Refuse splits that are empty, and a class that is left without training pictures."""
    for name in SPLITS:
        if len(task.split(name)) == 0:
            where = task.split(name).source.where
            raise DataError(
                f"{where}: no pictures left for {name}; give more pictures, or a larger data.{name}_fraction"
            )
    present = set(task.train.labels.tolist())
    for index, label in enumerate(task.classes):
        if index not in present:
            raise DataError(f"{task.train.source.where}: class {label!r} has no training pictures; give it more")


def check_name(name: str) -> str:
    """A task's name is also a folder's.

    Raises:
        DataError: it has a path separator, or is no name.
    """
    if not name.strip() or "/" in name or "\\" in name or name in (".", ".."):
        raise DataError(f"task: {name!r} is no name for a task; path separators are not allowed (task=NAME)")
    return name


def _decode(source: Source, members: Members, spec: InputSpec, in_memory: bool, photos: Photos | None = None) -> Split:
    """A split, its pictures decoded once where they are kept in memory.

    Args:
        photos: filled with the pictures at the size of random crops; left out of the split where they do not fit.
    """
    names, labels = [name for name, _ in members], torch.tensor([label for _, label in members])
    split = Split(source, names, labels, spec.size, None, spec.interpolation, spec.crop)
    if not (in_memory and len(split)):
        return split
    images = torch.empty(len(split), 3, spec.size, spec.size, dtype=torch.uint8)

    def read(row: int) -> Tensor | None:
        picture = read_rgb(source, names[row])
        images[row] = square(picture, spec.size, spec.interpolation, spec.crop)
        return None if photos is None else photos.scaled(picture)

    fits = photos is not None
    with ThreadPoolExecutor(DECODERS) as pool:
        for part in range(0, len(split), TOGETHER):
            for pixels in pool.map(read, range(part, min(part + TOGETHER, len(split)))):
                fits = fits and photos is not None and pixels is not None and photos.append(pixels)
            photos = photos if fits else None
    split.images, split.photos = images, photos
    return split


def _drop_unreadable(layout: Layout) -> list[str]:
    """Remove the pictures that can't be decoded from a layout; returns what was wrong with each."""
    problems: dict[str, str] = {}

    def look(name: str) -> None:
        try:
            read_square(layout.source, name, 8)
        except NettailorError as error:
            problems[name] = str(error)

    names = [name for members in layout.splits.values() for name, _ in members]
    with ThreadPoolExecutor(DECODERS) as pool:
        list(pool.map(look, names))
    for split, members in layout.splits.items():
        layout.splits[split] = [(name, label) for name, label in members if name not in problems]
    return [problems[name] for name in sorted(problems)]
