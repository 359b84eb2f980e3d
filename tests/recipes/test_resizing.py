"""`nettailor prune`: other sizes for a finished student, and the whole curve, from the real command line."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from nettailor.artifacts import delta
from nettailor.artifacts.pareto import Front
from nettailor.artifacts.report import Report
from tests.conftest import CommandLine


@pytest.fixture(scope="module")
def finished(quick_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One finished run on the small digits, of which these tests make other sizes."""
    return Path(shutil.copytree(quick_run, tmp_path_factory.mktemp("runs") / "four"))


def test_another_size_comes_from_the_same_student(nettailor: CommandLine, finished: Path) -> None:
    status, said, _ = nettailor("prune", finished, "--macs", "0.5")
    assert status == 0
    stages = {line.split()[0] for line in said.split("digits4 over")[0].splitlines() if "val_accuracy" in line}
    assert {"teacher", "student"} & stages == set(), "neither is trained again"
    assert "recover" in stages
    before, after = Report.read(finished / "report.json"), Report.read(finished / "prune" / "macs-0.5" / "report.json")
    assert after.compact.macs <= 0.5 * after.backbone.macs
    assert after.teacher.test_accuracy == before.teacher.test_accuracy
    for stage in ("teacher", "student"):
        assert before.seconds[stage] <= after.seconds[stage] <= before.seconds[stage] + 20, (
            "what it took, and reading it"
        )
    assert after.student == before.student
    assert after.prune is not None
    assert (after.prune.how, after.prune.cost) == ("budget", "macs")
    net = delta.load(finished / "prune" / "macs-0.5").net
    assert net.cost().macs == after.compact.macs
    again = nettailor("prune", finished, "--macs", "0.5")
    assert "finished already" in again[1]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "unit", "folder"),
    [(("--params", "0.4"), "params", "params-0.4"), (("--drop", "100", "prune.importance=gate"), "macs", "drop-100")],
)
def test_sizes_in_other_units(
    nettailor: CommandLine, finished: Path, words: tuple[str, ...], unit: str, folder: str
) -> None:
    assert nettailor("prune", finished, *words)[0] == 0
    report = Report.read(finished / "prune" / folder / "report.json")
    assert report.prune is not None
    assert report.prune.cost == unit
    if unit == "params":
        assert report.compact.params <= 0.4 * report.backbone.params


@pytest.mark.slow
def test_a_budget_in_milliseconds_is_counted_by_a_table(nettailor: CommandLine, finished: Path) -> None:
    assert nettailor("profile", "resnet34_tiny", "--rounds", "2", "--threads", "1", "--out", "costs.json")[0] == 0
    whole = json.loads(Path("costs.json").read_text())["whole"]
    wanted = str(0.5 * whole["sum_of_parts_ms"] + 0.5 * (whole["stem_ms"] + whole["head_ms"]))
    assert nettailor("prune", finished, "--latency-ms", wanted, "cost_table=costs.json", "--out", "fast")[0] == 0
    report = Report.read(Path("fast/report.json"))
    assert report.prune is not None
    assert report.prune.cost == "latency"
    assert report.prune.trials[-1]["price"] + whole["stem_ms"] + whole["head_ms"] <= float(wanted)


@pytest.mark.slow
def test_the_curve_is_a_table_a_picture_and_json(
    nettailor: CommandLine, finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nettailor.pruning.prune.FAR_BELOW", 1.0)  # this student is far below from the first round on
    status, said, _ = nettailor("prune", finished, "--front", "prune.shrink=0.6", "prune.drop=0")
    assert status == 0
    folder = finished / "prune" / "front"
    front = Front.read(folder / "front.json")
    macs = [point.macs for point in front.points]
    assert macs == sorted(macs, reverse=True)
    assert len(macs) >= 3
    assert [point.chosen for point in front.points].count(True) == 1
    report = Report.read(folder / "report.json")
    (chosen,) = [point for point in front.points if point.chosen]
    assert (chosen.macs, chosen.test_accuracy) == (report.compact.macs, report.compact.test_accuracy)
    assert (folder / "front.png").read_bytes().startswith(b"\x89PNG")
    assert "of backbone" in said
    assert "front.png" in said


@pytest.mark.parametrize(
    ("words", "status", "says"),
    [
        ([], 2, "name one of --macs, --params, --latency-ms, --drop and --front"),
        (["--macs", "0.5", "--drop", "1"], 2, "name one of --macs"),
        (["--macs", "0"], 2, "--macs: must be above 0"),
        (["--macs", "0.001"], 1, "the cheapest network that holds together costs"),
        (["--macs", "0.5", "student.epochs=3"], 2, "student.epochs: teacher and student of"),
    ],
)
def test_bad_input(nettailor: CommandLine, finished: Path, words: list[str], status: int, says: str) -> None:
    assert says in nettailor.fails("prune", finished, *words, status=status)


def test_a_run_that_is_not_there_or_not_finished(nettailor: CommandLine, digit_folder: Path) -> None:
    assert "holds no run" in nettailor.fails("prune", "nowhere", "--macs", "0.5")
    Path("half").mkdir()
    Path("half/recipe.yaml").write_text(f"data: {{source: {digit_folder}}}\n")
    assert "has no finished teacher and student" in nettailor.fails("prune", "half", "--macs", "0.5")
