"""On a GPU: a run from its teacher to its report, folds included, and what answers from its delta. Skipped without one."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from nettailor.artifacts.report import Report
from tests import tiny
from tests.conftest import SEEN

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("nvidia-smi") is None, reason="no NVIDIA GPU here"),
]


def run(*words: object) -> str:
    """A process that sees the GPUs which pytest was given."""
    seen = {key: value for key, value in os.environ.items() if key != "CUDA_VISIBLE_DEVICES"}
    env = seen if SEEN == "all" else {**seen, "CUDA_VISIBLE_DEVICES": SEEN}
    done = subprocess.run([sys.executable, *map(str, words)], capture_output=True, text=True, env=env, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(autouse=True)
def _needs_cuda() -> None:
    if run("-c", "import torch; print(torch.cuda.is_available())").strip() != "True":
        pytest.skip("torch finds no GPU")


def test_a_run_with_folds_ends_and_its_delta_answers_on_both_devices(digit_folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    settings = [*tiny.QUICK, "machine.device=cuda", "prune.folds=2", "prune.drop=50"]
    run("-m", "nettailor.cli", "adapt", "--data", digit_folder, "--out", out, *settings)
    report = Report.read(out / "report.json")
    assert not report.device.startswith("cpu")
    assert report.compact.latency_ms > 0
    assert report.compact.latency_packed_ms is None
    for device in ("cuda", "cpu"):
        assert "accuracy" in run("-m", "nettailor.cli", "eval", out, "--device", device)
