"""The lock of a run's folder: held against other processes, gone with a killed one, removed without a race."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from nettailor.artifacts import lock
from nettailor.artifacts.lock import FolderLockedError, lock_folder, wait_until_free
from nettailor.errors import FileError

HOLD = (
    "import sys, time; from pathlib import Path; from nettailor.artifacts.lock import lock_folder\n"
    "with lock_folder(Path(sys.argv[1])): print('held', flush=True); time.sleep(float(sys.argv[2]))"
)


def hold(folder: Path, seconds: float) -> subprocess.Popen[str]:
    process = subprocess.Popen([sys.executable, "-c", HOLD, folder, str(seconds)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_the_folder_is_locked_inside_and_clean_afterwards(tmp_path: Path) -> None:
    with lock_folder(tmp_path) as locked:
        assert locked
        assert json.loads((tmp_path / ".lock").read_text())["pid"] == os.getpid()
        with pytest.raises(FolderLockedError, match=f"{tmp_path}: is being worked on by process {os.getpid()} on "):  # noqa: SIM117
            with lock_folder(tmp_path):
                pass
    assert list(tmp_path.iterdir()) == []


def test_another_process_is_refused_until_it_is_killed(tmp_path: Path) -> None:
    process = hold(tmp_path, 60)
    with pytest.raises(FolderLockedError, match=f"process {process.pid} "), lock_folder(tmp_path):
        pass
    process.kill()
    process.wait()
    assert (tmp_path / ".lock").exists()
    with lock_folder(tmp_path) as locked:
        assert locked
    assert list(tmp_path.iterdir()) == []


def test_a_lock_is_waited_for(tmp_path: Path) -> None:
    process = hold(tmp_path, 0.5)
    wait_until_free(tmp_path, 0.05)
    with pytest.raises(FolderLockedError), lock_folder(tmp_path):
        pass
    wait_until_free(tmp_path, 60)
    with lock_folder(tmp_path):
        pass
    process.wait()


def test_a_file_that_its_owner_removed_meanwhile_guards_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between our opening the file and our locking it, its owner ends and removes it, and a third one makes a new one."""
    real, calls = lock._lock, []

    def late(handle: int) -> None:
        if not calls:
            (tmp_path / ".lock").unlink()
            (tmp_path / ".lock").touch()
        calls.append(handle)
        real(handle)

    monkeypatch.setattr(lock, "_lock", late)
    with lock_folder(tmp_path):
        monkeypatch.setattr(lock, "_lock", real)
        with pytest.raises(FolderLockedError), lock_folder(tmp_path):
            pass
    assert len(calls) == 2


def test_many_processes_never_hold_it_together(tmp_path: Path) -> None:
    """Each adds one to a number, reading and writing it with a pause between, a hundred times."""
    (tmp_path / "number").write_text("0")
    code = (
        "import sys, time; from pathlib import Path; from nettailor.artifacts.lock import *\n"
        "from nettailor.artifacts.lock import FolderLockedError\n"
        "root, left = Path(sys.argv[1]), 50\n"
        "while left:\n"
        "    try:\n"
        "        with lock_folder(root):\n"
        "            number = int((root / 'number').read_text()); time.sleep(0.0005)\n"
        "            (root / 'number').write_text(str(number + 1)); left -= 1\n"
        "    except FolderLockedError: time.sleep(0.0005)\n"
    )
    processes = [subprocess.Popen([sys.executable, "-c", code, tmp_path]) for _ in range(3)]
    assert [process.wait(timeout=120) for process in processes] == [0, 0, 0]
    assert (tmp_path / "number").read_text() == "150"


def test_a_file_system_without_locks_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def none(handle: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(lock, "_lock", none)
    with lock_folder(tmp_path) as locked:
        assert not locked
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="permissions do not stop this user")
def test_a_folder_that_can_not_be_written(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(FileError, match="choose another --out"), lock_folder(tmp_path):
        pass


def test_an_empty_lock_is_another_process(tmp_path: Path) -> None:
    process = hold(tmp_path, 60)
    (tmp_path / ".lock").write_text("")
    started = time.monotonic()
    with pytest.raises(FolderLockedError, match="by another process;"), lock_folder(tmp_path):
        pass
    assert time.monotonic() - started < 10
    process.kill()
    process.wait()
