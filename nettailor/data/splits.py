"""Which picture is in which split and class.

source -> class_folders -> Layout -> carve -> train, val, test    what the data does not split is drawn by seed
"""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass

import torch

from nettailor.data.config import DataConfig
from nettailor.data.images import Source
from nettailor.errors import DataError

SPLITS = ("train", "val", "test")
SPELLINGS = {"train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}


@dataclass
class Layout:
    """Which pictures there are: (name, class) by split. A split that is not there has no entry."""

    source: Source
    name: str
    classes: list[str]
    splits: dict[str, list[tuple[str, int]]]


def class_folders(source: Source, name: str) -> Layout:
    """Read `split/class/picture` or `class/picture`; one folder around all of it is looked through.

    Raises:
        DataError: no class folders, an empty class, or a class in val or test that train does not have.
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
            raise DataError(f"{source.where}: {prefix}{empty[0]}: class without pictures; fill or remove it")
        found[split] = classes
    names = sorted(found["train"])
    for split, classes in found.items():
        strange = sorted(set(classes) - set(names))
        if strange:
            raise DataError(f"{source.where}: {split} has a class {strange[0]!r} that train does not have; remove it")
    number = {label: index for index, label in enumerate(names)}
    splits = {s: [(p, number[c]) for c in sorted(cs) for p in cs[c]] for s, cs in found.items()}
    return Layout(source, name, names, splits)


def check(layout: Layout) -> None:
    """Refuse what nothing can be learned from."""
    if not layout.splits.get("train"):
        raise DataError(
            f"{layout.source.where}: no pictures in class folders (class/picture.png, or train/class/picture.png)"
        )
    if len(layout.classes) < 2:
        raise DataError(f"{layout.source.where}: only one class ({layout.classes[0]}); a task needs at least two")


def carve(layout: Layout, config: DataConfig, seed: int) -> dict[str, list[tuple[str, int]]]:
    """The three splits: those that are there, and the missing ones taken from train, class by class."""
    splits = dict(layout.splits)
    order = torch.Generator().manual_seed(seed)
    if config.train_limit is not None and (count := len(splits["train"])) > config.train_limit:
        splits["train"], _ = _stratified(splits["train"], 1 - config.train_limit / count, config.group, order)
    for name, fraction in (("test", config.test_fraction), ("val", config.val_fraction)):
        if name not in splits:
            splits["train"], splits[name] = _stratified(splits["train"], fraction, config.group, order)
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
        raise DataError(f"data.group: {pattern!r} is no regular expression ({error})") from error
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
