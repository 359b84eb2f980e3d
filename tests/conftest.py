"""Fixtures: small real pictures, a small backbone, and the command line."""

from __future__ import annotations

import os

if "PYTEST_XDIST_WORKER" in os.environ:  # tests share the cores: one thread each, or all wait for each other
    os.environ["OMP_NUM_THREADS"] = "1"

import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
import torch
from filelock import FileLock

from blocks import Backbone
from blocks.latency import latencies
from blocks.proxies import FORMS
from nettailor.cli.main import main
from tests import tiny

SEEN = os.environ.setdefault("PYTEST_SAW_GPUS", os.environ.get("CUDA_VISIBLE_DEVICES", "all"))
os.environ["CUDA_VISIBLE_DEVICES"] = ""
"""Tests hold bits, which a GPU doesn't keep; those of tests/test_gpu.py start processes that see what pytest was given."""


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


@pytest.fixture(autouse=True)
def _short_timings(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run's milliseconds are looked at in slow tests and in tests of their own; in all others a few rounds do."""
    if "slow" in request.keywords:
        return
    monkeypatch.setattr("nettailor.jobs.measure.latencies", partial(latencies, rounds=2))


@pytest.fixture(autouse=True)
def _no_new_proxies() -> Iterator[None]:
    """Forms of proxy that a test makes known are forgotten after it."""
    before = dict(FORMS)
    yield
    FORMS.clear()
    FORMS.update(before)


def made_once(tmp_path_factory: pytest.TempPathFactory, name: str, make: Callable[[Path], object]) -> Path:
    """A folder that the first test process to want it makes, and that all of this session read."""
    own = tmp_path_factory.getbasetemp()
    folder = (own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / "shared" / name
    folder.parent.mkdir(exist_ok=True)
    with FileLock(folder.with_name(f"{name}.lock")):
        done = folder.with_name(f"{name}.done")
        if not done.exists():
            make(folder)
            done.touch()
    return folder


@pytest.fixture(scope="session")
def digit_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Real digits 0 to 3 as PNG: 12 for training, 6 for validation and 6 for testing in each class."""
    return made_once(tmp_path_factory, "digits4", tiny.write_digits)


@pytest.fixture(scope="session")
def other_digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Real digits 6 and 7, as many: source pictures beside those of `digit_folder`."""
    return made_once(tmp_path_factory, "digits2", partial(tiny.write_digits, classes=2, first=6))


@pytest.fixture(scope="session")
def quick_run(digit_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole run of the default method on the small digits, for reading; copy it to change it. What it said is in `.log`."""

    def make(out: Path) -> None:
        command = [sys.executable, "-m", "nettailor.cli", "adapt", "--data", digit_folder, "--out", out, *tiny.QUICK]
        done = subprocess.run(command, check=False, capture_output=True, text=True, cwd=out.parent)
        assert done.returncode == 0, done.stderr
        out.with_suffix(".log").write_text(done.stdout)

    return made_once(tmp_path_factory, "four", make)


@pytest.fixture(scope="session")
def linear_run(digit_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of the method of the shortest training, for reading."""

    def make(out: Path) -> None:
        assert main(["adapt", "--data", str(digit_folder), "--out", str(out), *tiny.LINEAR]) == 0

    return made_once(tmp_path_factory, "linear", make)


@pytest.fixture
def backbone() -> Backbone:
    """Six residual blocks with random weights and randomised batch-norm statistics, 16 px input."""
    return tiny.tiny_backbone()


class CommandLine:
    """Runs `nettailor` in this process and keeps what it printed."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys

    def __call__(self, *words: str | Path) -> tuple[int, str, str]:
        self._capsys.readouterr()
        status = main([str(word) for word in words])
        said = self._capsys.readouterr()
        return status, said.out, said.err

    def fails(self, *words: str | Path, status: int = 1) -> str:
        """Run it, see it fail in one or two plain lines, and return them."""
        code, _, said = self(*words)
        assert code == status, said
        assert 1 <= len(said.strip().splitlines()) <= 2, said
        assert "Traceback" not in said
        assert "unexpected" not in said, said
        return said


@pytest.fixture
def nettailor(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CommandLine:
    """The command line, in an empty current directory."""
    monkeypatch.chdir(tmp_path)
    return CommandLine(capsys)
