"""Parts of a data set: some classes, so many pictures of each, and a sample of all."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from PIL import Image

from blocks import InputSpec
from nettailor.data.config import DataConfig
from nettailor.data.images import MemorySource
from nettailor.data.layout import Layout
from nettailor.data.sample import per_class, sampled, some_classes
from nettailor.errors import DataError

SPEC = InputSpec(16, (0.5, 0.5, 0.5), (0.25, 0.25, 0.25), crop=0.8)


def layout(classes: int = 6, each: int = 10) -> Layout:
    members = [(f"{label}/{n}.png", label) for label in range(classes) for n in range(each)]
    source = MemorySource("memory", [name for name, _ in members], lambda _: Image.new("L", (8, 8)))
    return Layout(source, "memory", [f"c{n}" for n in range(classes)], {"train": members, "val": members[::10]})


ALL = layout()


def test_fewer_classes_are_among_more_and_are_numbered_anew() -> None:
    two, four = some_classes(ALL, 2, 0), some_classes(ALL, 4, 0)
    assert set(two.classes) < set(four.classes) < set(ALL.classes)
    assert some_classes(ALL, 4, 0) == four
    assert any(some_classes(ALL, 2, seed).classes != two.classes for seed in range(1, 5))
    for found in (two, four):
        assert all(f"c{name.split('/')[0]}" == found.classes[label] for s in found.splits.values() for name, label in s)
        assert len(found.splits["val"]) == len(found.classes)
    assert some_classes(ALL, None, 0) == some_classes(ALL, 6, 0) == ALL
    with pytest.raises(DataError, match="memory: has 6 classes, 7 are asked for"):
        some_classes(ALL, 7, 0)


def test_a_total_is_shared_out_and_each_is_each() -> None:
    assert sorted(Counter(label for _, label in per_class(ALL, 0, total=20)).values()) == [3, 3, 3, 3, 4, 4]
    assert len(per_class(ALL, 0, total=20)) == 20
    assert set(Counter(label for _, label in per_class(ALL, 0, each=7)).values()) == {7}
    assert set(per_class(ALL, 0, each=3)) < set(per_class(ALL, 0, each=7))
    assert per_class(ALL, 0, total=42) == per_class(ALL, 0, each=7)
    assert per_class(ALL, 0) == ALL.splits["train"]


def test_a_class_without_its_share_is_named() -> None:
    with pytest.raises(DataError, match="11 of each class are asked for, but 'c0' has 10 training pictures, not 11"):
        per_class(ALL, 0, each=11)
    with pytest.raises(DataError, match="61 of 6 classes are asked for, but 'c0' has 10 training pictures, not 11"):
        per_class(ALL, 0, total=61)
    with pytest.raises(DataError, match="5 of 6 classes are asked for, but 'c5' has 10 training pictures$"):
        per_class(ALL, 0, total=5)


def test_a_sample_is_drawn_by_the_seed_from_what_is_trained_on(digit_folder: Path) -> None:
    config = DataConfig(source=str(digit_folder), per_class=2)
    one, again, other = (sampled(config, SPEC, 20, seed) for seed in (0, 0, 1))
    assert one.names == again.names != other.names
    assert len(one) == len(set(one.names)) == 20, "per_class is no limit of it"
    assert all(name.startswith("train/") for name in one.names)
    assert len(sampled(config, SPEC, 1000, 0)) == 48
    assert (one.size, one.crop) == (16, 0.8)
