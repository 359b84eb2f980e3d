"""A run that takes a network cut out of blocks trains no student; the first that cuts something out of one does."""

from __future__ import annotations

from pathlib import Path

import pytest

from nettailor.artifacts.report import Report
from tests.conftest import CommandLine
from tests.recipes.test_widths import LOW

BLOCKS = tuple(words for words in LOW if not words.startswith("prune.epochs"))
"""With which networks are cut out of the blocks as they began; few points may be lost, so none is taken below them."""


def stages(folder: Path) -> set[str]:
    return {path.stem for path in (folder / "nets").iterdir()}


@pytest.mark.slow
def test_a_student_is_trained_once_something_is_cut_out_of_it(nettailor: CommandLine, digit_folder: Path) -> None:
    over = ("--backbone", "tests.tiny:tiny_inverted", "backbone.input_size=16", "prune.drop=0.01", "prune.folds=0")
    status, said, err = nettailor("adapt", "--data", digit_folder, *over, *BLOCKS, "--out", "run")
    assert status == 0, err
    run, report = Path("run"), Report.read(Path("run/report.json"))
    assert "the blocks" in said, "networks were cut out of them"
    assert (report.student, "student" in report.epochs) == (None, False)
    assert report.prune is not None
    assert {"student-begun", "teacher"} <= stages(run)
    assert "student" not in stages(run)
    status, _, err = nettailor("show", run, "--backbone", "tests.tiny:tiny_inverted", "--tensorboard", "board")
    assert status == 0, err
    assert sorted(path.name for path in Path("board/graphs").iterdir()) == ["1-before-training", "3-after-pruning"]

    status, said, err = nettailor("prune", run, "--macs", "0.8", "prune.epochs=1")
    assert status == 0, err
    smaller = Report.read(run / "prune/macs-0.8/report.json")
    assert smaller.student is not None
    assert smaller.epochs["student"] == 1
    assert "student      1/1  ce" in said
    assert smaller.compact.macs <= 0.8 * smaller.backbone.macs
    trained = (run / "nets/student.safetensors").read_bytes()
    assert trained == (run / "prune/macs-0.8/nets/student.safetensors").read_bytes()

    status, said, err = nettailor("prune", run, "--macs", "0.7", "prune.epochs=1")
    assert status == 0, err
    assert "student      1/1  ce" not in said, "it is there"
    again = Report.read(run / "prune/macs-0.7/report.json")
    assert again.student == smaller.student
    assert trained == (run / "nets/student.safetensors").read_bytes()
