"""The record of source accuracy and discrimination: written and read back, and older reports without it still read."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import pytest

from nettailor.artifacts.report import Report
from nettailor.artifacts.source_record import PassFigures, ProbeFigures, SourceFigures, SourceRecord
from nettailor.errors import FileError
from tests import fabricated

SOURCE = SourceFigures("photos", 200, 60_000, 5000, "val", 0.8, "kept", "names", 0.38, 0.04, 0.378, 0.32, 9792)
PROBE = ProbeFigures("letters", 242, 3630, 1210, 5, 0.48, 0.42)
RECORD = SourceRecord(
    "signs",
    "soft",
    3,
    SOURCE,
    PROBE,
    [PassFigures(0, source_accuracy=0.39), PassFigures(1, 0.5, 0.1, 0.4, 0.9, 64, 2.5)],
)


def test_it_comes_back_as_it_was(tmp_path: Path) -> None:
    RECORD.write(tmp_path / "source.json")
    assert SourceRecord.read(tmp_path / "source.json") == RECORD
    assert json.loads((tmp_path / "source.json").read_text())["format"] == 1


def test_another_file_is_refused_by_its_field(tmp_path: Path) -> None:
    tree = asdict(RECORD)
    tree["source"]["head"] = "borrowed"
    (tmp_path / "source.json").write_text(json.dumps(tree))
    with pytest.raises(FileError, match=r"source.head: .*is it a record of another version\?"):
        SourceRecord.read(tmp_path / "source.json")


def test_a_report_without_it_is_read_as_it_was_and_one_with_it_keeps_it(tmp_path: Path) -> None:
    file = tmp_path / "report.json"
    fabricated.report().write(file)
    tree = json.loads(file.read_text())
    del tree["source"], tree["probe"]
    file.write_text(json.dumps(tree))
    assert Report.read(file) == fabricated.report()
    fabricated.report(source=SOURCE, probe=PROBE).write(file)
    assert Report.read(file).source == SOURCE
    assert Report.read(file).probe == PROBE
