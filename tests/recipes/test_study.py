"""A study from the real command line: with workers, killed in the middle of a cell, small sources, and the shipped one."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from nettailor.config.library import shipped_studies
from tests.conftest import CommandLine

ROOT = Path(__file__).parents[2]
LONG = 20  # passes: time enough to kill a cell in


def write_study(folder: Path, digits: Path, passes: int = LONG) -> Path:
    tree = {
        "factors": {"source_classes": [2], "tune_from": ["head", "all"], "seed": [0]},
        "baselines": ["linear"],
        "pretrain": {"data": str(digits), "each": 6, "epochs": 3, "batch": 6, "lr": 0.05},
        "base": {
            "data": {"source": str(digits)},
            "backbone": {"name": "tests.tiny:tiny_resnet", "input_size": 16},
            "teacher": {"epochs": passes, "lr": 0.002, "batch": 16, "start": "fresh"},
            "machine": {"threads": 1, "device": "cpu"},
        },
        "distance": {"pictures": 10},
    }
    path = folder / "small.yaml"
    path.write_text(yaml.safe_dump(tree))
    return path


def begin(path: Path, *words: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "nettailor.cli", "study", str(path), *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=path.parent,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        start_new_session=True,
    )


def lines(folder: Path) -> list[dict[str, Any]]:
    """What is the same however a study ran."""
    trees = [json.loads(line) for line in (folder / "cells.jsonl").read_text().splitlines()]
    for tree in trees:
        tree.pop("seconds")
        tree["folder"] = tree["folder"].rsplit("-", 1)[0]  # its hash knows where the weights of a source lie
        tree["source"].pop("seconds")
    return trees


@pytest.mark.slow
@pytest.mark.alone
def test_a_study_that_is_killed_goes_on_and_workers_change_nothing(digit_folder: Path, tmp_path: Path) -> None:
    path = write_study(tmp_path, digit_folder)
    whole = begin(path, "--out", "whole")
    said = whole.communicate()[0]
    assert whole.returncode == 0, said
    assert "about 0:" in said, "the time left is shown"
    killed = begin(path, "--out", "killed", "--workers", "2")
    deadline = time.monotonic() + 120
    while not list((tmp_path / "killed").glob("cells/*/checkpoint/teacher.safetensors")):
        assert killed.poll() is None, killed.communicate()[0]
        assert time.monotonic() < deadline
        time.sleep(0.02)
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    again = begin(path, "--out", "killed", "--workers", "2")
    said = again.communicate()[0]
    assert again.returncode == 0, said
    assert "pretrain" not in said, "sources are not trained again"
    assert lines(tmp_path / "killed") == lines(tmp_path / "whole")
    assert len(lines(tmp_path / "whole")) == 3
    for name in ("whole", "killed"):
        assert (tmp_path / name / "report.md").is_file()
        assert not list((tmp_path / name).rglob(".*.tmp"))
        assert not list((tmp_path / name).glob("cells/*/checkpoint"))


@pytest.mark.slow
def test_the_shipped_study_runs(nettailor: CommandLine, digit_folder: Path) -> None:
    tree = yaml.safe_load(shipped_studies()["studies/digits"].read_text())
    assert tree["baselines"] == ["linear", "scratch"]
    words = (f"data.source={digit_folder}", "backbone.name=tests.tiny:tiny_resnet", "backbone.input_size=16")
    status, said, err = nettailor("study", "studies/digits", *words, "teacher.epochs=1", "teacher.batch=16")
    assert status == 0, err
    assert "digits: 12 cells" in said
    cells = [json.loads(line) for line in Path("studies/digits/cells.jsonl").read_text().splitlines()]
    assert [cell["method"] for cell in cells if cell["baseline"]] == ["linear", "linear", "scratch", "scratch"]
    assert all(cell["over_probe"] is not None and cell["over_scratch"] is not None for cell in cells[:8])
