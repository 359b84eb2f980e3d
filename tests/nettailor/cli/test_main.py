"""Every way a command can end has its exit status and its plain line."""

from __future__ import annotations

import errno
import logging
import os
import subprocess
import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from nettailor import __version__
from nettailor.cli import main as module
from nettailor.cli.verbs import VERBS
from nettailor.errors import FileError, NettailorWarning, UsageError
from tests.conftest import CommandLine


@dataclass
class Nothing:
    """Takes nothing."""


def raising(error: BaseException) -> Callable[[Nothing], int]:
    def do(options: Nothing) -> int:
        raise error

    return do


@pytest.fixture
def verb(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[Nothing], int]], None]:
    """Makes a function the verb `some`."""
    return lambda do: monkeypatch.setitem(module.VERBS, "some", (Nothing, do))


@pytest.mark.parametrize(
    ("error", "status", "says"),
    [
        (FileError("a.json", "is missing"), 1, "nettailor: a.json: is missing\n"),
        (UsageError("no such thing"), 2, "nettailor: no such thing\n"),
        (KeyboardInterrupt(), 130, "\nnettailor: stopped; the same command goes on where it was\n"),
        (
            OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "big"),
            1,
            "nettailor: big: No space left on device; free some space or choose another --out\n",
        ),
        (ValueError("odd"), 1, "nettailor: unexpected ValueError: odd (--debug shows where)\n"),
    ],
)
def test_an_error_is_a_plain_line_and_an_exit_status(
    nettailor: CommandLine, verb: Callable[..., None], error: BaseException, status: int, says: str
) -> None:
    verb(raising(error))
    assert nettailor("some") == (status, "", says)


def test_a_machine_with_the_tools_of_a_gpu_but_none_hears_nothing_of_it(
    nettailor: CommandLine, verb: Callable[..., None], caplog: pytest.LogCaptureFixture
) -> None:
    told = logging.getLogger("torch.utils.cpp_extension")

    def do(options: Nothing) -> int:
        told.warning("No CUDA runtime is found")
        told.error("broken")
        return 0

    verb(do)
    assert nettailor("some")[0] == 0
    assert [record.message for record in caplog.records] == ["broken"]


def test_debug_adds_the_traceback_wherever_it_stands(nettailor: CommandLine, verb: Callable[..., None]) -> None:
    verb(raising(FileError("a.json", "is missing")))
    for words in (("--debug", "some"), ("some", "--debug")):
        status, _, said = nettailor(*words)
        assert status == 1
        assert said.startswith("Traceback")
        assert said.endswith("nettailor: a.json: is missing\n")


def test_a_verb_s_status_is_the_command_s_and_its_warnings_are_plain_lines(
    nettailor: CommandLine, verb: Callable[..., None]
) -> None:
    def do(options: Nothing) -> int:
        for _ in range(2):
            warnings.warn("is old", NettailorWarning, stacklevel=1)
        return 7

    verb(do)
    before = warnings.showwarning
    assert nettailor("some") == (7, "", "nettailor: is old\n" * 2)
    assert warnings.showwarning is before


@pytest.mark.parametrize("module", ["nettailor", "nettailor.cli"])
def test_python_runs_it_as_a_module(module: str) -> None:
    done = subprocess.run([sys.executable, "-m", module, "--version"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, f"nettailor {__version__}\n")


def test_version_and_overview(nettailor: CommandLine) -> None:
    assert nettailor("--version") == (0, f"nettailor {__version__}\n", "")
    status, said, _ = nettailor()
    assert status == 0
    assert {line.split()[0] for line in said.splitlines() if line.startswith("  ")} >= set(VERBS)
    for word in ("-h", "--help", "help"):
        assert nettailor(word) == (0, said, "")


def test_help_of_a_verb_is_no_failure(nettailor: CommandLine) -> None:
    status, said, _ = nettailor("show", "--help")
    assert status == 0
    assert "usage: nettailor show" in said
