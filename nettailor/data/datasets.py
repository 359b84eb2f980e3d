"""Data sets with a name: scikit-learn's handwritten digits, and those of torchvision.

Both are handed on as a source of pictures with the class of each, by split. What the data set does not split itself is
left to `nettailor.data.splits`; only the digits, which have no split of their own, get a fixed one here.
"""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from nettailor.data.images import MemorySource, Source, to_rgb
from nettailor.errors import DataError, did_you_mean

Members = dict[str, list[tuple[str, int]]]
DIGITS = "digits"
DIGITS_SEED = 1797  # the digits' split is a property of the data, not of a run

# Constructor arguments that give each split of torchvision's classification sets. A split without labels is not among
# them; what is missing is drawn from train.
_BY_FLAG: dict[str, dict[str, Any]] = {"train": {"train": True}, "test": {"train": False}}
_TWO: dict[str, dict[str, Any]] = {"train": {"split": "train"}, "test": {"split": "test"}}
_TRAIN_VAL: dict[str, dict[str, Any]] = {"train": {"split": "train"}, "val": {"split": "val"}}
_THREE = {**_TRAIN_VAL, **_TWO}
_UNSPLIT: dict[str, dict[str, Any]] = {"train": {}}
TORCHVISION: dict[str, dict[str, dict[str, Any]]] = {
    "CIFAR10": _BY_FLAG,
    "CIFAR100": _BY_FLAG,
    "CLEVRClassification": _TRAIN_VAL,
    "Caltech101": _UNSPLIT,
    "Caltech256": _UNSPLIT,
    "Country211": {**_TWO, "val": {"split": "valid"}},
    "DTD": _THREE,
    # 47 classes: digits, and letters whose two cases are one class where they look alike
    "EMNIST": {split: {"split": "balanced", **flag} for split, flag in _BY_FLAG.items()},
    "EuroSAT": _UNSPLIT,
    "FER2013": _TWO,
    "FGVCAircraft": _THREE,
    "FashionMNIST": _BY_FLAG,
    "Flowers102": _THREE,
    "Food101": _TWO,
    "GTSRB": _TWO,
    "INaturalist": _UNSPLIT,  # its 2021_train
    "ImageFolder": _UNSPLIT,  # the class folders of data.root
    "ImageNet": _TRAIN_VAL,
    "Imagenette": _TRAIN_VAL,
    "KMNIST": _BY_FLAG,
    "LFWPeople": _UNSPLIT,  # its own splits share no person
    "LSUN": _UNSPLIT,
    "MNIST": _BY_FLAG,
    "Omniglot": _UNSPLIT,  # the background set; the evaluation set has other classes
    "OxfordIIITPet": {"train": {"split": "trainval"}, "test": {"split": "test"}},
    "PCAM": _THREE,
    "Places365": {s: {"split": n, "small": True} for s, n in (("train", "train-standard"), ("val", "val"))},
    "QMNIST": _BY_FLAG,
    "RenderedSST2": _THREE,
    "SEMEION": _UNSPLIT,
    "STL10": _TWO,
    "SUN397": _UNSPLIT,
    "SVHN": _TWO,
    "StanfordCars": _TWO,
    "USPS": _BY_FLAG,
}
_BY_LOWER = {name.lower(): name for name in TORCHVISION}
_UNPICKLED = {"LSUN"}  # a set that unpickles a file of its root unseen: for a root that the user named, no other
_TRANSPOSED = {"EMNIST"}  # sets whose pictures are stored with rows and columns swapped


def is_named(source: str) -> bool:
    """Whether `--data` names a data set of this module; a folder of the same name is written `./NAME`."""
    return source == DIGITS or source.lower() in _BY_LOWER


def digits() -> tuple[Source, list[str], Members]:
    """scikit-learn's 1,797 handwritten digits (8 x 8, from the UCI set), split 60 / 20 / 20, class by class."""
    from sklearn.datasets import load_digits

    data = load_digits()
    pixels = (data.images * (255 / 16)).round().astype(np.uint8)
    names = [f"{index:04d}" for index in range(len(pixels))]
    source = MemorySource(DIGITS, names, lambda index: Image.fromarray(pixels[index]))
    order = torch.Generator().manual_seed(DIGITS_SEED)
    splits: Members = {"train": [], "val": [], "test": []}
    for label in range(10):
        rows = np.flatnonzero(data.target == label)
        rows = rows[torch.randperm(len(rows), generator=order).numpy()]
        fifth = len(rows) // 5
        for split, part in (("test", rows[:fifth]), ("val", rows[fifth : 2 * fifth]), ("train", rows[2 * fifth :])):
            splits[split] += [(names[row], label) for row in sorted(part)]
    return source, [str(label) for label in range(10)], splits


def torchvision_source(
    name: str, root: Path, fetch: bool = True, option: str = "--data"
) -> tuple[Source, list[str], Members]:
    """A torchvision data set of labelled pictures, from `root`.

    Args:
        fetch: download what is not there.
        option: that names it, for messages.

    Raises:
        DataError: there is no such data set, or it is not on this machine and can't or must not be fetched.
    """
    if not is_named(name):
        nearest = did_you_mean(name.lower(), [DIGITS, *_BY_LOWER], show=lambda near: repr(_BY_LOWER.get(near, near)))
        raise DataError(f"{option} {name}: no such directory, zip or data set{nearest}")
    import torchvision.datasets as available

    title = _BY_LOWER[name.lower()]
    if not fetch and title in _UNPICKLED:
        raise DataError(f"{title}: is read by running what its files say; name it yourself with {option} {name}")
    kind = getattr(available, title)
    parts = {split: _open(kind, root, arguments, fetch, name) for split, arguments in TORCHVISION[title].items()}
    labels = {split: _labels(part) for split, part in parts.items()}
    labelled = {split: [int(v) for v in values if v is not None] for split, values in labels.items()}
    values = {split: found for split, found in labelled.items() if len(found) == len(labels[split])}
    if "train" not in values:
        raise DataError(f"{title}: its training pictures have no classes")
    classes, number = _classes(parts["train"], values)
    members: Members = {split: [] for split in values}
    places: list[tuple[Any, int]] = []
    names: list[str] = []
    for split in values:
        for index, value in enumerate(values[split]):
            names.append(f"{split}/{classes[number[value]].replace('/', '-')}/{index:06d}")
            places.append((parts[split], index))
            members[split].append((names[-1], number[value]))

    def picture(place: int) -> Image.Image:
        part, index = places[place]
        rgb = to_rgb(part[index][0])
        return rgb.transpose(Image.Transpose.TRANSPOSE) if title in _TRANSPOSED else rgb

    return MemorySource(title, names, picture), classes, members


def _classes(part: Any, values: dict[str, list[int]]) -> tuple[list[str], dict[int, int]]:
    """Names of the classes, and the place of each label among them."""
    present = sorted({value for found in values.values() for value in found})
    own = [entry if isinstance(entry, str) else ", ".join(entry) for entry in getattr(part, "classes", [])]
    if len(set(own)) == len(own) > max(present):
        return own, {value: value for value in present}
    return [f"{value:03d}" for value in present], {value: place for place, value in enumerate(present)}


def _open(kind: type, root: Path, arguments: dict[str, Any], fetch: bool, name: str) -> Any:
    can_fetch = _takes(kind, "download")
    local = {"download": False} if can_fetch else {}  # SEMEION would fetch if it were not told
    try:
        part = kind(root=str(root), **arguments, **local)  # no network is asked for what is there
        part[0]  # Places365 looks for its lists alone
        return part
    except Exception as error:  # what is not there is a RuntimeError or OSError; what is damaged may be anything
        absent = error
    remedy = "put its files there, or name another folder with data.root=DIR"
    remedy += f"; for the folder of that name write --data ./{name}" if Path(name).exists() else ""
    if not fetch:
        raise DataError(
            f"{kind.__name__}: is not under {root} ({absent}) and is not fetched here; name it with --data, or {remedy}"
        ) from absent
    try:
        return kind(root=str(root), **arguments, **({"download": True} if can_fetch else {}))
    except Exception as error:  # the libraries behind a download raise anything from URLError to zlib's own errors
        raise DataError(
            f"{kind.__name__}: is not under {root} ({absent}) and can't be fetched ({error}); {remedy}"
        ) from error


def _takes(kind: type, argument: str) -> bool:
    """Whether a constructor takes an argument, by its own signature or by one that its keyword arguments are passed to."""
    for base in kind.__mro__:
        parameters = inspect.signature(base.__init__).parameters  # type: ignore[misc]
        if argument in parameters:
            return True
        if not any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values()):
            return False
    return False


def _labels(part: Any) -> list[Any]:
    """The label of each picture; None where the data set does not tell."""
    for attribute in ("targets", "labels", "_labels", "y"):
        values = getattr(part, attribute, None)
        if values is not None:
            return list(
                values[:, 0] if getattr(values, "ndim", 1) > 1 else values
            )  # QMNIST: the class, then its origin
    for attribute, place in (("samples", 1), ("_samples", 1), ("_flat_character_images", 1), ("index", 0)):
        pairs = getattr(part, attribute, None)
        if pairs:
            return [pair[place] for pair in pairs]
    return [part[index][1] for index in range(len(part))]
