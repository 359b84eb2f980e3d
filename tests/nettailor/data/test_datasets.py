"""Data sets with a name: each of torchvision's is opened as its constructor wants it, from files in its own format."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torchvision.datasets as available
from PIL import Image
from sklearn.datasets import load_digits
from torchvision.datasets import CIFAR10, MNIST, Places365
from torchvision.datasets.utils import verify_str_arg

from nettailor.data.config import DataConfig
from nettailor.data.datasets import TORCHVISION, _takes, is_named, torchvision_source
from nettailor.data.task import find_layout, load_task
from nettailor.errors import DataError

NO_CLASSIFICATION = {
    *("CarlaStereo", "CREStereo", "ETH3DStereo", "FallingThingsStereo", "InStereo2k", "Kitti2012Stereo"),
    *("Kitti2015Stereo", "Middlebury2014Stereo", "SceneFlowStereo", "SintelStereo"),  # depth
    *("FlyingChairs", "FlyingThings3D", "HD1K", "KittiFlow", "Sintel"),  # motion
    *("Cityscapes", "CocoCaptions", "CocoDetection", "Kitti", "SBDataset", "VOCDetection", "VOCSegmentation"),
    *("Flickr8k", "Flickr30k", "SBU", "WIDERFace"),  # captions and boxes
    *("CelebA", "LFWPairs", "PhotoTour"),  # many labels a picture, or pairs
    *("HMDB51", "Kinetics", "MovingMNIST", "UCF101"),  # films
    *(
        "DatasetFolder",
        "FakeData",
        "LSUNClass",
        "VisionDataset",
        "wrap_dataset_for_transforms_v2",
    ),  # no sets of their own
}


def test_the_digits_have_one_fixed_split() -> None:
    one, other = load_task("digits", 32, seed=0), load_task("digits", 32, seed=5)
    assert (len(one.train), len(one.val), len(one.test)) == (1087, 355, 355)
    assert one.record() == other.record()
    names = one.train.names + one.val.names + one.test.names
    assert len(set(names)) == len(load_digits().images)
    assert one.classes == [str(n) for n in range(10)]


def test_every_classification_set_of_torchvision_is_in_the_table() -> None:
    assert set(TORCHVISION) == set(available.__all__) - NO_CLASSIFICATION


class Verified(Exception):
    """Every argument was looked at."""


@pytest.mark.parametrize("name", TORCHVISION)
def test_the_arguments_of_a_set_are_those_that_its_constructor_knows(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kind = getattr(available, name)
    seen: set[tuple[str, str]] = set()

    def verify(value: str, arg: str | None = None, valid_values: Any = None, custom_msg: str | None = None) -> str:
        found: str = verify_str_arg(value, arg, valid_values, custom_msg)
        seen.add((str(arg), found))
        return found

    module = inspect.getmodule(kind)
    if hasattr(module, "verify_str_arg"):
        monkeypatch.setattr(module, "verify_str_arg", verify)
    for arguments in TORCHVISION[name].values():
        inspect.signature(kind).bind(root=str(tmp_path), **arguments)
        for argument, value in arguments.items():
            assert _takes(kind, argument)
            if isinstance(value, str) and name != "PCAM":  # without h5py it gives up before it looks
                with pytest.raises((RuntimeError, OSError)):  # it is not there, but nothing is wrong with the split
                    kind(root=str(tmp_path), **arguments)
                assert (argument, value) in seen or name == "Places365"
                assert value in str(getattr(kind, "_SPLITS", value))


@pytest.mark.parametrize(
    ("name", "can"), [("EMNIST", True), ("QMNIST", True), ("MNIST", True), ("ImageNet", False), ("FER2013", False)]
)
def test_whether_a_set_can_be_fetched_is_seen_through_keyword_arguments(name: str, can: bool) -> None:
    assert _takes(getattr(available, name), "download") is can


def write_idx(images: Path, labels: Path, pixels: np.ndarray, targets: np.ndarray) -> None:
    """Pictures (N, 28, 28) and labels (N,) in the MNIST format."""
    images.parent.mkdir(parents=True, exist_ok=True)
    images.write_bytes(np.array([0x803, *pixels.shape], dtype=">i4").tobytes() + pixels.astype(np.uint8).tobytes())
    labels.write_bytes(np.array([0x801, len(targets)], dtype=">i4").tobytes() + targets.astype(np.uint8).tobytes())


def real_digits() -> tuple[np.ndarray, np.ndarray]:
    data = load_digits()
    pixels = (data.images * 255 / 16).astype(np.uint8).repeat(3, 1).repeat(3, 2)
    return np.pad(pixels, ((0, 0), (2, 2), (2, 2))), data.target


def test_a_torchvision_set_on_disk_is_used_without_a_network(tmp_path: Path) -> None:
    """MNIST's own file format, written with real digits."""
    data = load_digits()
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    pixels = (data.images * 255 / 16).astype(np.uint8).repeat(3, 1).repeat(3, 2)
    pixels = np.pad(pixels, ((0, 0), (2, 2), (2, 2)))
    for prefix, rows in (("train", slice(0, 300)), ("t10k", slice(300, 400))):
        images, labels = pixels[rows], data.target[rows].astype(np.uint8)
        head = np.array([0x803, len(images), 28, 28], dtype=">i4").tobytes()
        (raw / f"{prefix}-images-idx3-ubyte").write_bytes(head + images.tobytes())
        (raw / f"{prefix}-labels-idx1-ubyte").write_bytes(
            np.array([0x801, len(labels)], dtype=">i4").tobytes() + labels.tobytes()
        )
    assert len(MNIST(str(tmp_path), train=True)) == 300
    task = load_task(DataConfig(source="mnist", root=str(tmp_path)), 32)
    assert len(task.test) == 100
    assert len(task.train) + len(task.val) == 300
    assert len(task.classes) == 10
    assert task.test.labels.tolist().count(3) == int((data.target[300:400] == 3).sum())


def test_emnist_is_its_balanced_letters_and_digits_upright(tmp_path: Path) -> None:
    pixels, targets = real_digits()
    raw = tmp_path / "EMNIST" / "raw"
    targets = targets.copy()
    targets[:94] = np.arange(94) % 47  # every class is there
    for split, rows in (("train", slice(0, 300)), ("test", slice(300, 400))):
        swapped = pixels[rows].transpose(0, 2, 1)  # as the set's files have them
        prefix = f"emnist-balanced-{split}"
        write_idx(raw / f"{prefix}-images-idx3-ubyte", raw / f"{prefix}-labels-idx1-ubyte", swapped, targets[rows])
    layout = find_layout(DataConfig(source="emnist", root=str(tmp_path)))
    assert {split: len(members) for split, members in layout.splits.items()} == {"train": 300, "test": 100}
    assert len(layout.classes) == 47
    assert layout.classes[10:12] == ["A", "B"]
    name, label = layout.splits["test"][5]
    assert label == targets[305]
    assert np.array_equal(np.asarray(layout.source.open(name))[:, :, 0], pixels[305])


def test_qmnist_s_labels_are_the_classes(tmp_path: Path) -> None:
    pixels, targets = real_digits()
    raw = tmp_path / "QMNIST" / "raw"
    for split, rows in (("train", slice(0, 300)), ("test", slice(300, 60300))):
        images, labels = pixels[rows], targets[rows]
        write_idx(raw / f"qmnist-{split}-images-idx3-ubyte", raw / "unused", images, labels)
        extended = np.zeros((len(labels), 8), dtype=">i4")
        extended[:, 0] = labels
        head = np.array([0xC02, len(labels), 8], dtype=">i4").tobytes()
        (raw / f"qmnist-{split}-labels-idx2-int").write_bytes(head + extended.tobytes())
    layout = find_layout(DataConfig(source="qmnist", root=str(tmp_path)))
    assert [label for _, label in layout.splits["train"]] == targets[:300].tolist()
    assert len(layout.classes) == 10


def test_pets_are_split_into_trainval_and_test_by_breed(tmp_path: Path) -> None:
    root = tmp_path / "oxford-iiit-pet"
    (root / "images").mkdir(parents=True)
    (root / "annotations").mkdir()
    for split, numbers in (("trainval", range(8)), ("test", range(8, 12))):
        lines = []
        for label, breed in enumerate(("Abyssinian", "american_bulldog", "Bengal"), 1):
            for number in numbers:
                Image.new("RGB", (20, 16), (label * 40, number, 0)).save(root / "images" / f"{breed}_{number}.jpg")
                lines.append(f"{breed}_{number} {label} {1 + (label == 2)} 1\n")
        (root / "annotations" / f"{split}.txt").write_text("".join(lines))
    task = load_task(DataConfig(source="OxfordIIITPet", root=str(tmp_path)), 16)
    assert task.classes == ["Abyssinian", "American Bulldog", "Bengal"]
    assert (len(task.train) + len(task.val), len(task.test)) == (24, 12)
    assert task.test.labels.tolist() == [0] * 4 + [1] * 4 + [2] * 4
    red = task.test.batch(torch.arange(12))[:, 0].float().mean((1, 2))
    assert all(abs(float(r) - 40 * (n // 4 + 1)) < 6 for n, r in enumerate(red))


def places(root: Path, monkeypatch: pytest.MonkeyPatch, pictures: bool = True) -> None:
    """Places365's small pictures of three scenes; its lists are held to the hashes of these."""
    scenes = ("/a/airfield", "/b/beach", "/b/booth/indoor")
    categories = "".join(f"{scene} {n}\n" for n, scene in enumerate(scenes))
    train = "".join(f"{scene}/{k:08d}.jpg {n}\n" for n, scene in enumerate(scenes) for k in range(10))
    val = "".join(f"Places365_val_{3 * k + n:08d}.jpg {n}\n" for n in range(3) for k in range(2))

    def write(name: str, text: str) -> tuple[str, str]:
        (root / name).write_text(text)
        return name, hashlib.md5(text.encode()).hexdigest()

    monkeypatch.setattr(Places365, "_CATEGORIES_META", write("categories_places365.txt", categories))
    lists = {
        "train-standard": write("places365_train_standard.txt", train),
        "val": write("places365_val.txt", val),
    }
    monkeypatch.setattr(Places365, "_FILE_LIST_META", lists)
    for folder, text in (("data_256_standard", train), ("val_256", val)):
        for line in text.splitlines() if pictures else ():
            name, label = line.split()
            path = root / folder / name.lstrip("/")
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (16, 16), (50 * int(label), 0, 0)).save(path)


def test_places_are_the_small_standard_pictures_and_their_val(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    places(tmp_path, monkeypatch)
    task = load_task(DataConfig(source="places365", root=str(tmp_path)), 16)
    assert task.classes == ["/a/airfield", "/b/beach", "/b/booth/indoor"]
    assert (len(task.train), len(task.val), len(task.test)) == (24, 6, 6)
    assert task.val.labels.tolist() == [0, 0, 1, 1, 2, 2]
    assert abs(float(task.val.batch(torch.tensor([4]))[0, 0].float().mean()) - 100) < 4


def test_lists_without_pictures_are_fetched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    places(tmp_path, monkeypatch, pictures=False)
    asked = []

    def fetched(self: Places365) -> None:
        asked.append(self.split)
        raise OSError("network is unreachable")

    monkeypatch.setattr(Places365, "download_images", fetched)
    with pytest.raises(DataError, match="network is unreachable"):
        torchvision_source("Places365", tmp_path)
    assert asked == ["train-standard"]


def test_a_torchvision_set_that_cannot_be_had_says_where_to_put_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def offline(*_: object, **__: object) -> None:
        raise OSError("network is unreachable")

    monkeypatch.setattr(CIFAR10, "download", offline)
    with pytest.raises(DataError, match=r"put its files there.*data\.root"):
        load_task(DataConfig(source="CIFAR10", root=str(tmp_path)), 32)


def fetching(*_: object, **__: object) -> None:
    raise AssertionError("a network was asked")


@pytest.mark.parametrize("name", ["CIFAR10", "EMNIST", "QMNIST", "SEMEION", "OxfordIIITPet", "Places365", "EuroSAT"])
def test_nothing_is_fetched_where_that_is_not_wanted(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import urllib.request

    monkeypatch.setattr(urllib.request, "urlopen", fetching)
    monkeypatch.setattr(urllib.request, "urlretrieve", fetching)
    for step in ("download", "_download", "download_devkit", "download_images"):
        if hasattr(getattr(available, name), step):
            monkeypatch.setattr(getattr(available, name), step, fetching)
    with pytest.raises(DataError, match=f"{name}: is not under .* is not fetched here"):
        torchvision_source(name, tmp_path, fetch=False)


class Part:
    """A split of a data set that says its labels in the way under test."""

    def __init__(self, **said: Any) -> None:
        self.__dict__.update(said)

    def __len__(self) -> int:
        return 4

    def __getitem__(self, index: int) -> tuple[Image.Image, int | None]:
        return Image.new("L", (8, 8), index), (5, 3, 3, 5)[index]


@pytest.mark.parametrize(
    "said",
    [
        {"targets": [5, 3, 3, 5]},
        {"labels": np.array([5, 3, 3, 5])},
        {"_labels": (5, 3, 3, 5)},
        {"_samples": [("a", 5), ("b", 3), ("c", 3), ("d", 5)]},
        {"_flat_character_images": [("a", 5), ("b", 3), ("c", 3), ("d", 5)]},
        {"index": [(5, "a"), (3, "b"), (3, "c"), (5, "d")]},
        {},
    ],
)
def test_labels_are_found_wherever_a_set_keeps_them(said: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    def opens(split: str) -> Callable[..., Part]:
        return lambda *_: Part(**said) if split == "train" else Part(targets=[None] * 4)

    monkeypatch.setattr(
        "nettailor.data.datasets._open", lambda kind, root, arguments, *_: opens(arguments["split"])(kind)
    )
    _, classes, members = torchvision_source("FER2013", Path())
    assert classes == ["003", "005"]  # those that occur
    assert [label for _, label in members["train"]] == [1, 0, 0, 1]
    assert "test" not in members, "a split without labels is left to be drawn"


def test_a_misspelt_data_set_gets_the_nearest_name() -> None:
    with pytest.raises(DataError, match="did you mean 'CIFAR10'"):
        load_task("cifar01", 32)
    with pytest.raises(DataError, match="did you mean 'digits'"):
        load_task("digit", 32)


def test_names_are_known_whatever_their_case_and_paths_are_none() -> None:
    assert all(is_named(name) for name in ("digits", "cifar10", "CIFAR10", "OxfordIIITPet"))
    assert not any(
        is_named(name) for name in ("./digits", "digits/", "/digits", "pictures", "digits.zip", "Digits", "")
    )
