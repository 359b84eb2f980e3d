"""Confusion matrices and balanced accuracy."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest

from nettailor.artifacts.confusion import Confusion, balanced_accuracy
from nettailor.errors import FileError
from nettailor.files import read_json, write_json

LABELS, SAID = [0, 0, 0, 0, 1, 1, 2], [0, 0, 0, 1, 1, 2, 1]


def test_rows_are_classes_and_columns_what_they_are_taken_for(tmp_path: Path) -> None:
    confusion = Confusion.of("birds", ["a", "b", "c", "d"], LABELS, SAID)
    assert confusion.counts == [[3, 1, 0, 0], [0, 1, 1, 0], [0, 1, 0, 0], [0, 0, 0, 0]]
    confusion.write(tmp_path / "confusion.json")
    assert Confusion.read(tmp_path / "confusion.json") == confusion
    write_json(tmp_path / "confusion.json", {**read_json(tmp_path / "confusion.json"), "format": 2})
    with pytest.raises(FileError, match=r"confusion.json: format: .*of another version"):
        Confusion.read(tmp_path / "confusion.json")


def test_the_pairs_that_are_confused_most_come_first() -> None:
    confusion = Confusion("birds", ["a", "b", "c"], [[9, 1, 3], [2, 9, 0], [0, 0, 9]])
    assert confusion.most_confused(2) == [("a", "c", 3), ("b", "a", 2)]
    assert len(confusion.most_confused(10)) == 3


def test_every_class_counts_the_same_in_a_balanced_accuracy() -> None:
    assert balanced_accuracy(LABELS, SAID) == pytest.approx((3 / 4 + 1 / 2 + 0) / 3)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert balanced_accuracy([0, 0, 1], [0, 5, 1]) == pytest.approx(0.75), "class 5 has no pictures"
