"""A task: named classes and three splits of pictures, ready for one backbone's input.

    data choice -> layout (which picture is in which split and class) -> splits decoded to uint8 squares -> Task

Choices are made on `val`; `test` is read once, at the end. A split that the data lacks is carved out of the training
pictures, stratified by class, by the run's seed; which picture went where is written down in the run's `split.json`.
"""

from __future__ import annotations

import hashlib
import re
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from blocks import InputSpec
from nettailor.datasets import digits, torchvision_source
from nettailor.errors import DataProblem, FileProblem, NettailorError
from nettailor.pictures import FolderSource, Source, ZipSource, read_square
from nettailor.recipe import DataChoice

SPLITS = ("train", "val", "test")
SPELLINGS = {"train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}
DECODERS = 4


@dataclass
class Layout:
    """Which pictures there are: (name, class) by split. A split that is not there has no entry."""

    source: Source
    name: str
    classes: list[str]
    splits: dict[str, list[tuple[str, int]]]


@dataclass
class Split:
    """Pictures of one split with their labels (N,), `images` (N, 3, S, S) uint8.

    `images` is None where they do not fit in memory. `size`, `interpolation` and `crop` are a backbone's (`InputSpec`).
    """

    source: Source
    names: list[str]
    labels: Tensor
    size: int
    images: Tensor | None = None
    interpolation: str = "bilinear"
    crop: float = 1.0

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

    def fingerprint(self) -> str:
        """A hash of every split's pictures (their pixels where they are in memory) and labels."""
        digest = hashlib.sha256()
        for name in SPLITS:
            split = self.split(name)
            digest.update(repr((name, split.names, split.labels.tolist())).encode())
            if split.images is not None:
                digest.update(split.images.numpy().tobytes())
        return digest.hexdigest()


def load_task(choice: DataChoice | str, spec: InputSpec | int, seed: int = 0, name: str | None = None) -> Task:
    """Find, split and decode the pictures of a task.

    Args:
        choice: the recipe's data section, or just its source.
        spec: the pictures that the backbone reads, or just the side of the squares in pixels.
        seed: of the splits that have to be carved out.
        name: of the task; the data's own if left out.

    Raises:
        DataProblem, FileProblem: the data is missing, damaged or unfit; the message names the folder or file.
    """
    if isinstance(choice, str):
        choice = DataChoice(source=choice)
    spec = InputSpec(spec, (0.5,) * 3, (0.5,) * 3) if isinstance(spec, int) else spec
    size = spec.size
    layout = find_layout(choice)
    check(layout)
    skipped = _drop_unreadable(layout) if choice.skip_bad else []
    splits = carve(layout, choice, seed)
    bytes_needed = sum(len(members) for members in splits.values()) * 3 * size * size
    in_memory = bytes_needed <= choice.memory_gib * 2**30
    made = {split: _decode(layout.source, members, spec, in_memory) for split, members in splits.items()}
    task = Task(
        check_name(name or layout.name), layout.classes, made["train"], made["val"], made["test"], size, skipped
    )
    check_splits(task)
    return task


def find_layout(choice: DataChoice) -> Layout:
    """The pictures behind a data choice, as they lie."""
    path = Path(choice.source).expanduser()
    if path.is_dir():
        return class_folders(FolderSource(path), path.name or path.resolve().name)
    if path.is_file():
        return class_folders(ZipSource(path), path.stem)
    if choice.source == "digits":
        source, classes, splits = digits()
        return Layout(source, "digits", classes, splits)
    if "/" in choice.source or path.suffix:
        raise FileProblem(choice.source, "no such directory or zip; give --data a directory or zip of class folders")
    source, classes, splits = torchvision_source(choice.source, Path(choice.root).expanduser())
    return Layout(source, choice.source.lower(), classes, splits)


def class_folders(source: Source, name: str) -> Layout:
    """Read `split/class/picture` or `class/picture`; one folder around all of it is looked through.

    Raises:
        DataProblem: no class folders, an empty class, or a class in val or test that train does not have.
    """
    root = _common_root(source)
    tops = {
        folder[len(root) :].split("/")[0] for folder in source.folders if folder.startswith(root) and folder != root
    }
    tops.discard("")
    spelt = {top: SPELLINGS[top.lower()] for top in tops if top.lower() in SPELLINGS}
    if "train" not in spelt.values():
        spelt = {}
    wanted = {f"{root}{top}/": split for top, split in spelt.items()} or {root: "train"}
    found: dict[str, dict[str, list[str]]] = {}
    for prefix, split in wanted.items():
        classes: dict[str, list[str]] = {
            folder[len(prefix) :]: []
            for folder in source.folders
            if folder.startswith(prefix) and "/" not in folder[len(prefix) :] and folder[len(prefix) :]
        }
        for picture in source.names:
            label, slash, _ = picture[len(prefix) :].partition("/")
            if picture.startswith(prefix) and slash:
                classes.setdefault(label, []).append(picture)
        empty = sorted(label for label, pictures in classes.items() if not pictures)
        if empty:
            raise DataProblem(f"{source.where}: {prefix}{empty[0]}: class without pictures; fill or remove it")
        found[split] = classes
    names = sorted(found["train"])
    for split, classes in found.items():
        strange = sorted(set(classes) - set(names))
        if strange:
            raise DataProblem(f"{source.where}: {split} has a class {strange[0]!r} that train does not have; remove it")
    number = {label: index for index, label in enumerate(names)}
    splits = {s: [(p, number[c]) for c in sorted(cs) for p in cs[c]] for s, cs in found.items()}
    return Layout(source, name, names, splits)


def check(layout: Layout) -> None:
    """Refuse what nothing can be learned from."""
    if not layout.splits.get("train"):
        raise DataProblem(
            f"{layout.source.where}: no pictures in class folders (class/picture.png, or train/class/picture.png)"
        )
    if len(layout.classes) < 2:
        raise DataProblem(f"{layout.source.where}: only one class ({layout.classes[0]}); a task needs at least two")


def check_splits(task: Task) -> None:
    """Refuse splits that are empty, and a class that is left without training pictures."""
    for name in SPLITS:
        if len(task.split(name)) == 0:
            where = task.split(name).source.where
            raise DataProblem(
                f"{where}: no pictures left for {name}; give more pictures, or a larger data.{name}_fraction"
            )
    present = set(task.train.labels.tolist())
    for index, label in enumerate(task.classes):
        if index not in present:
            raise DataProblem(f"{task.train.source.where}: class {label!r} has no training pictures; give it more")


def check_name(name: str) -> str:
    """A task's name is also a folder's.

    Raises:
        DataProblem: it has a path separator, or is no name.
    """
    if not name.strip() or "/" in name or "\\" in name or name in (".", ".."):
        raise DataProblem(f"task: {name!r} is no name for a task; path separators are not allowed (task=NAME)")
    return name


def carve(layout: Layout, choice: DataChoice, seed: int) -> dict[str, list[tuple[str, int]]]:
    """The three splits: those that are there, and the missing ones taken from train, class by class."""
    splits = dict(layout.splits)
    order = torch.Generator().manual_seed(seed)
    if choice.train_limit is not None and (count := len(splits["train"])) > choice.train_limit:
        splits["train"], _ = _stratified(splits["train"], 1 - choice.train_limit / count, choice.group, order)
    for name, fraction in (("test", choice.test_fraction), ("val", choice.val_fraction)):
        if name not in splits:
            splits["train"], splits[name] = _stratified(splits["train"], fraction, choice.group, order)
    return {name: splits[name] for name in SPLITS}


def _stratified(
    members: list[tuple[str, int]], fraction: float, pattern: str | None, order: torch.Generator
) -> tuple[list[tuple[str, int]], list[tuple[str, int]]]:
    """Take `fraction` of each class away, in whole groups; at least one group of every class stays."""
    classes: dict[int, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for name, label in members:
        classes[label][_group(name, pattern)].append(name)
    stay, taken = [], []
    for label, groups in sorted(classes.items()):
        keys = list(groups)
        keys = [keys[i] for i in torch.randperm(len(keys), generator=order).tolist()]
        total = sum(len(pictures) for pictures in groups.values())
        away = 0
        for left, key in zip(range(len(keys), 0, -1), keys, strict=True):
            enough = away + len(groups[key]) / 2 > fraction * total
            if left == 1 or enough or fraction == 0:
                stay += [(name, label) for name in groups[key]]
            else:
                taken += [(name, label) for name in groups[key]]
                away += len(groups[key])
    return sorted(stay, key=lambda m: (m[1], m[0])), sorted(taken, key=lambda m: (m[1], m[0]))


def _group(name: str, pattern: str | None) -> str:
    if pattern is None:
        return name
    file = name.rsplit("/", 1)[-1]
    try:
        match = re.search(pattern, file)
    except re.error as error:
        raise DataProblem(f"data.group: {pattern!r} is no regular expression ({error})") from error
    return name if match is None else (match.group(1) if match.groups() else match.group(0))


def _common_root(source: Source) -> str:
    """The folder around everything, as a prefix; "" where there are several or it is a class itself."""
    root = ""
    while True:
        inner = [
            f for f in source.folders if f.startswith(root) and "/" not in f[len(root) :] and f != root.rstrip("/")
        ]
        direct = [name for name in source.names if name.startswith(root) and "/" not in name[len(root) :]]
        if len(inner) != 1 or direct:
            return root
        deeper = inner[0] + "/"
        if inner[0][len(root) :].lower() in SPELLINGS or not any(f.startswith(deeper) for f in source.folders):
            return root
        root = deeper


def _decode(source: Source, members: list[tuple[str, int]], spec: InputSpec, in_memory: bool) -> Split:
    names, labels = [name for name, _ in members], torch.tensor([label for _, label in members])
    split = Split(source, names, labels, spec.size, None, spec.interpolation, spec.crop)
    if in_memory and len(split):
        split.images = split.batch(torch.arange(len(split)))
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
