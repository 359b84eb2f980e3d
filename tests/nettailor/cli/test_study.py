"""`nettailor study`: its words, and what it prints."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from nettailor.jobs import study as job
from nettailor.jobs.study_file import StudyFile
from tests.conftest import CommandLine
from tests.fabricated import cell


def test_its_words_reach_the_job_and_a_table_is_printed(
    nettailor: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[tuple[Any, ...]] = []

    def run(path: Path, out: Path | None, overrides: dict[str, Any], display: Any, workers: int, on: str | None) -> Any:
        given.append((path, out, overrides, workers, on))
        return StudyFile({"rate": [0.1, 0.2]}, name="mine"), [cell(0.9, rate=0.1), cell(0.8, rate=0.2)], Path("out")

    monkeypatch.setattr(job, "study", run)
    Path("mine.yaml").touch()
    words = ("study", "mine.yaml", "teacher.epochs=3", "--device", "cpu", "--out", "out", "--workers", "2")
    status, said, err = nettailor(*words)
    assert status == 0, err
    overrides = {"teacher": {"epochs": 3}, "machine": {"device": "cpu"}}
    assert given == [(Path("mine.yaml"), Path("out"), overrides, 2, None)]
    assert "mine: 2 cells" in said
    assert "90.00" in said
    assert "report   out/report.md" in said


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("factors: {raet: [0.1]}", "bad.yaml: factors.raet: there is no factor 'raet'; did you mean 'rate'?"),
        ("factors: {rate: []}", "bad.yaml: factors.rate: is empty"),
        ("factors: {tune_from: [99]}", "method.tune_from: is 99, but resnet34_tiny has 16 blocks"),
        ("seed: 1", "bad.yaml: is no study"),
    ],
)
def test_wrong_use_is_status_2_and_writes_nothing(nettailor: CommandLine, text: str, says: str) -> None:
    Path("bad.yaml").write_text(text)
    assert says in nettailor.fails("study", "bad.yaml", status=2)
    assert [path.name for path in Path().iterdir()] == ["bad.yaml"]


def test_a_study_that_is_not_there_gets_the_nearest(nettailor: CommandLine) -> None:
    assert "did you mean 'studies/digits'?" in nettailor.fails("study", "studies/digit", status=2)
    assert "no such file or shipped study" in nettailor.fails("study", "none.yaml", status=2)
