"""Data sets with a name: scikit-learn's handwritten digits, and those of torchvision.

Both are handed on as a source of pictures with the class of each, by split. What the data set does not split itself is
left to `nettailor.task`; only the digits, which have no split of their own, get a fixed one here.
"""

from __future__ import annotations

import difflib
import inspect
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from nettailor.data.images import MemorySource, Source, to_rgb
from nettailor.errors import DataError

Members = dict[str, list[tuple[str, int]]]
DIGITS_SEED = 1797  # the digits' split is a property of the data, not of a run


def digits() -> tuple[Source, list[str], Members]:
    """scikit-learn's 1,797 handwritten digits (8 x 8, from the UCI set), split 60 / 20 / 20, class by class."""
    from sklearn.datasets import load_digits

    data = load_digits()
    pixels = (data.images * (255 / 16)).round().astype(np.uint8)
    names = [f"{index:04d}" for index in range(len(pixels))]
    source = MemorySource("digits", names, lambda index: Image.fromarray(pixels[index]))
    order = torch.Generator().manual_seed(DIGITS_SEED)
    splits: Members = {"train": [], "val": [], "test": []}
    for label in range(10):
        rows = np.flatnonzero(data.target == label)
        rows = rows[torch.randperm(len(rows), generator=order).numpy()]
        fifth = len(rows) // 5
        for split, part in (("test", rows[:fifth]), ("val", rows[fifth : 2 * fifth]), ("train", rows[2 * fifth :])):
            splits[split] += [(names[row], label) for row in sorted(part)]
    return source, [str(label) for label in range(10)], splits


def torchvision_source(name: str, root: Path) -> tuple[Source, list[str], Members]:
    """A torchvision data set of labelled pictures, downloaded to `root` if it is not there and there is a network.

    Raises:
        DataError: there is no such data set, it is not on this machine and can't be fetched, or it has no classes.
    """
    import torchvision.datasets as available

    by_name = {key.lower(): key for key in available.__all__}
    if name.lower() not in by_name:
        close = difflib.get_close_matches(name.lower(), ["digits", *by_name], n=1)
        hint = f"; did you mean {by_name.get(close[0], close[0])!r}?" if close else ""
        raise DataError(f"--data {name}: no such directory, zip or data set{hint}")
    kind = getattr(available, by_name[name.lower()])
    parts: dict[str, Any] = {}
    for split, arguments in _splits_of(kind).items():
        parts[split] = _open(kind, root, arguments)
    first = next(iter(parts.values()))
    labels = {split: _labels(part, by_name[name.lower()]) for split, part in parts.items()}
    count = 1 + max(max(values) for values in labels.values())
    classes = [str(entry) for entry in getattr(first, "classes", [])] or [f"{i:03d}" for i in range(count)]
    if len(set(classes)) < count:
        classes = [f"{i:03d}" for i in range(count)]
    members: Members = {}
    places: list[tuple[Any, int]] = []
    names: list[str] = []
    for split, part in parts.items():
        members[split] = []
        for index, label in enumerate(labels[split]):
            names.append(f"{split}/{classes[label].replace('/', '-')}/{index:06d}")
            places.append((part, index))
            members[split].append((names[-1], label))
    source = MemorySource(by_name[name.lower()], names, lambda place: to_rgb(places[place][0][places[place][1]][0]))
    return source, classes, members


def _splits_of(kind: type) -> dict[str, dict[str, Any]]:
    """The constructor arguments that give each split of a torchvision data set."""
    parameters = inspect.signature(kind).parameters
    if "train" in parameters:
        return {"train": {"train": True}, "test": {"train": False}}
    if "split" in parameters:
        offered = str(parameters["split"].annotation) + (inspect.getdoc(kind) or "")
        if '"val"' in offered or "'val'" in offered:
            return {split: {"split": split} for split in ("train", "val", "test")}
        return {split: {"split": split} for split in ("train", "test")}
    return {"train": {}}


def _open(kind: type, root: Path, arguments: dict[str, Any]) -> Any:
    fetch = {"download": True} if "download" in inspect.signature(kind).parameters else {}
    try:
        return kind(root=str(root), **arguments)  # local files first: no network is asked for what is there
    except (RuntimeError, FileNotFoundError, TypeError) as error:
        absent = error
    try:
        return kind(root=str(root), **arguments, **fetch)
    except Exception as error:  # the libraries behind a download raise anything from URLError to zlib's own errors
        raise DataError(
            f"{kind.__name__}: is not under {root} ({absent}) and can't be fetched ({error}); "
            f"put its files there, or name another folder with data.root=DIR"
        ) from error


def _labels(part: Any, name: str) -> list[int]:
    for attribute in ("targets", "labels", "_labels", "y"):
        values = getattr(part, attribute, None)
        if values is not None:
            return [int(value) for value in values]
    samples = getattr(part, "samples", None) or getattr(part, "_samples", None)
    if samples:
        return [int(sample[1]) for sample in samples]
    label = part[0][1]
    if not isinstance(label, int):
        raise DataError(f"{name}: is no set of pictures with one class each")
    return [int(part[index][1]) for index in range(len(part))]
