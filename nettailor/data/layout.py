"""Which pictures there are: split and class folders, as they lie.

source (folder, zip) -> class_folders -> Layout: (name, class) by split, before anything is drawn
"""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass, replace

from nettailor.data.images import Source
from nettailor.errors import DataError

SPLITS = ("train", "val", "test")
SPELLINGS = {
    **dict.fromkeys(("train", "training", "trn", "trainset", "train_set", "training_set"), "train"),
    **dict.fromkeys(("val", "valid", "validate", "validation", "valset", "val_set", "validation_set"), "val"),
    **dict.fromkeys(("dev", "devset", "dev_set", "eval", "evaluation"), "val"),
    **dict.fromkeys(("test", "tests", "testing", "tst", "testset", "test_set", "testing_set"), "test"),
}
"""Names of split folders, in lower case; a `-` or space counts as `_`."""


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
        DataError: no class folders, an empty class, a class in val or test that train does not have, a folder of pictures
            beside the split folders, or two folders for one split.
    """
    root = _common_root(source)
    folders = _split_folders(source, root)
    wanted = {f"{root}{top}/": split for top, split in folders.items()} or {root: "train"}
    found = {split: _classes(source, prefix) for prefix, split in wanted.items()}
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


def only_classes(layout: Layout, pattern: str | None, named: str = "data.classes") -> Layout:
    """A layout without the classes whose whole name does not match a pattern; as it is where that is None.

    Args:
        named: the setting that the pattern is, for messages.

    Raises:
        DataError: it is no regular expression, or fewer than two classes match it.
    """
    if pattern is None or not layout.classes:
        return layout
    try:
        matches = re.compile(pattern).fullmatch
    except re.error as error:
        raise DataError(f"{named}: {pattern!r} is no regular expression ({error})") from error
    kept = [label for label in layout.classes if matches(label)]
    if len(kept) < 2:
        known = ", ".join(layout.classes[:3]) + ", ..." * (len(layout.classes) > 3)
        raise DataError(
            f"{named}: {pattern!r} matches {len(kept)} of the {len(layout.classes)} classes of {layout.source.where} "
            f"({known}); a task needs at least two"
        )
    number = {layout.classes.index(label): index for index, label in enumerate(kept)}
    splits = {
        split: [(name, number[label]) for name, label in members if label in number]
        for split, members in layout.splits.items()
    }
    return replace(layout, classes=kept, splits=splits)


def _split_of(folder: str) -> str | None:
    """The split that a folder's name stands for."""
    return SPELLINGS.get(folder.lower().replace("-", "_").replace(" ", "_"))


def _split_folders(source: Source, root: str) -> dict[str, str]:
    """The split folders below a prefix, with their splits; none where there is no train: then they are classes.

    Raises:
        DataError: a folder of pictures that is none of them, or two for one split.
    """
    tops = sorted({f[len(root) :].split("/")[0] for f in source.folders if f.startswith(root) and f != root} - {""})
    spelt = {top: split for top in tops if (split := _split_of(top)) is not None}
    inner = {top for top in spelt if any(folder.startswith(f"{root}{top}/") for folder in source.folders)}
    alone = len(spelt) == 1 and not inner and len(tops) > 1  # pictures of trains, beside those of buses
    if "train" not in spelt.values() or alone:
        return {}
    by_split = defaultdict(list)
    for top, split in spelt.items():
        by_split[split].append(f"{root}{top}")
    for split, same in by_split.items():
        if len(same) > 1:
            raise DataError(
                f"{source.where}: {' and '.join(same)} both mean {split}; merge them, or move one elsewhere"
            )
    strange = [top for top in tops if top not in spelt and any(n.startswith(f"{root}{top}/") for n in source.names)]
    if strange:
        beside = ", ".join(f"{root}{top}" for top in spelt)
        raise DataError(
            f"{source.where}: {', '.join(root + top for top in strange[:3])}: not a split, but beside {beside}; "
            f"name it train, val or test, or move it elsewhere"
        )
    return spelt


def _classes(source: Source, prefix: str) -> dict[str, list[str]]:
    """The pictures of each class folder below a prefix."""
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
    return classes


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
        if _split_of(inner[0][len(root) :]) or not any(f.startswith(deeper) for f in source.folders):
            return root
        root = deeper
