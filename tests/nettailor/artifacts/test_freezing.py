"""The freezing curve's record."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from nettailor.artifacts.freezing import Freezing
from nettailor.errors import FileError
from tests import fabricated


def test_validation_chooses_and_of_equals_the_one_that_trains_least(tmp_path: Path) -> None:
    report = fabricated.report()

    def of(val: float, test: float):  # type: ignore[no-untyped-def]
        return replace(report, compact=replace(report.compact, val_accuracy=val, test_accuracy=test))

    curve = Freezing.of({"new": of(0.7, 0.9), "head": of(0.8, 0.5), "layer4.0": of(0.8, 0.99), "all": of(0.6, 1.0)})
    assert curve.chosen == "head"
    assert [point.tune_from for point in curve.points] == ["new", "head", "layer4.0", "all"]
    curve.write(tmp_path / "freezing.json")
    assert Freezing.read(tmp_path / "freezing.json") == curve
    (tmp_path / "freezing.json").write_text('{"format": 9}')
    with pytest.raises(FileError, match="is it a freezing curve of another version"):
        Freezing.read(tmp_path / "freezing.json")
