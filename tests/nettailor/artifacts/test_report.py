"""One schema of figures for every method."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from nettailor.artifacts.report import Report
from nettailor.environment import versions
from nettailor.errors import FileError
from nettailor.files import read_json, write_json
from tests import fabricated


@pytest.mark.parametrize("report", [fabricated.report(), fabricated.without_teacher()])
def test_a_report_survives_its_file(report: Report, tmp_path: Path) -> None:
    report.write(tmp_path / "report.json")
    assert Report.read(tmp_path / "report.json") == report


def test_a_new_report_says_what_made_it() -> None:
    known = {name: value for name, value in vars(fabricated.report()).items() if name != "versions"}
    assert Report(**known).versions == versions()


def test_reports_from_before_some_figures_were_taken_are_read(tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    fabricated.report().write(path)
    tree = read_json(path)
    del tree["epochs"], tree["versions"]
    for section, keys in {
        "student": ("macs", "params", "task_params", "complexity_is_approximate"),
        "compact": ("latency_packed_ms", "balanced_accuracy", "private_params", "shared_params"),
        "teacher": ("latency_packed_ms", "balanced_accuracy"),
        "prune": ("cost", "recovered"),
    }.items():
        for key in keys:
            del tree[section][key]
    write_json(path, tree)
    report = Report.read(path)
    assert report.epochs == {}
    assert report.prune is not None
    assert (report.prune.cost, report.compact.latency_packed_ms) == ("macs", None)
    assert (report.compact.private_params, report.compact.shared_params) == (None, None)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"format": 7}, "format: "),
        ({"compact": {"macs": 1}}, "compact.test_accuracy: "),
        ({"teacher": "finetune"}, "teacher: "),
        ({"colour": "red"}, "colour: "),
    ],
)
def test_what_is_no_report_is_named(tmp_path: Path, change: dict[str, Any], says: str) -> None:
    path = tmp_path / "report.json"
    fabricated.report().write(path)
    write_json(path, {**read_json(path), **change})
    with pytest.raises(FileError) as raised:
        Report.read(path)
    assert str(raised.value).startswith(f"{path}: {says}")
    assert str(raised.value).endswith("; is it a report of another version?")
