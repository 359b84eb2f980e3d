"""A suite's folder: the old suite or the new one at every moment, and nothing of anybody else's touched."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from nettailor.artifacts.lock import FolderLockedError, lock_folder
from nettailor.errors import FileError
from nettailor.suite import changes
from nettailor.suite.changes import add, remove
from nettailor.suite.folder import SuiteFolder
from nettailor.suite.suite import Suite
from tests.fabricated import TINY
from tests.nettailor.suite.conftest import Make

Change = Callable[[Path], object]


@pytest.fixture(scope="session")
def other(make: Make) -> Path:
    """Another delta of the task birds."""
    return make("birds", {"G2"}, seed=5)


@pytest.fixture
def unchecked(monkeypatch: pytest.MonkeyPatch, loaded: Suite) -> None:
    """Let tests of what is written skip the checks of what is read: they take their time."""
    monkeypatch.setattr(changes, "load", lambda *_: None)
    monkeypatch.setattr(changes, "check_blocks", lambda *_: None)
    monkeypatch.setattr(changes, "restore_backbone", lambda *_: loaded.backbone)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def is_whole(folder: Path) -> set[str]:
    """See that the index and what it names are there as they were written; gives the names of all files."""
    place, index = SuiteFolder(folder), SuiteFolder(folder).read()
    files = {"suite.json", "backbone.safetensors"}
    for name, task in index.tasks.items():
        delta = place.delta(name, task)
        assert place.copy_delta(delta, name) == task
        files |= {str((delta / file).relative_to(folder)) for file in ("task.json", "task.safetensors", "README.md")}
    return files


class Stop:
    """Stands in for a function of the file system and stops the change at one of its calls."""

    def __init__(self, real: Callable[..., Any], at: int, error: BaseException, first: bool) -> None:
        self.real, self.left, self.error, self.first = real, at, error, first

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        self.left -= 1
        if self.left == 0 and self.first:
            raise self.error
        done = self.real(*arguments, **named)
        if self.left == 0:
            raise self.error
        return done


CHANGES: dict[str, Callable[[Path, Path], object]] = {
    "add": lambda suite, other: add(suite, [other], names=["more"]),
    "replace": lambda suite, other: add(suite, [other], replaces=True),
    "remove": lambda suite, _: remove(suite, ["birds"]),
}


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("cleans", [True, False], ids=["fails", "is killed"])
@pytest.mark.parametrize("first", [True, False], ids=["before", "after"])
@pytest.mark.parametrize("change", CHANGES)
def test_a_change_that_stops_at_any_write_leaves_the_old_suite_or_the_new_one(
    suite: Path, other: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: str, first: bool, cleans: bool
) -> None:
    new = shutil.copytree(suite, tmp_path / "new")
    CHANGES[change](new, other)
    outcomes = {(suite / "suite.json").read_bytes(): "old", (new / "suite.json").read_bytes(): "new"}
    seen = []
    for write in range(1, 10):
        again = shutil.copytree(suite, tmp_path / f"again{write}")
        with monkeypatch.context() as patch:
            stop = Stop(os.replace, write, OSError(28, "No space left on device"), first)
            patch.setattr("nettailor.files.os.replace", stop)
            if not cleans:  # a killed process cleans nothing
                patch.setattr(SuiteFolder, "clean", lambda *_: None)
            try:
                CHANGES[change](again, other)
            except FileError as error:
                assert "No space left on device" in str(error)  # noqa: PT017
            else:
                assert stop.left > 0
                break
        seen.append(outcomes[(again / "suite.json").read_bytes()])
        files = is_whole(again)
        assert not cleans or contents(again).keys() == files
        if not cleans:
            (again / "tasks" / ".task.json.half.tmp").touch()
            (again / ".suite.json.half.tmp").touch()
        CHANGES["replace"](again, other)  # what was left behind does not disturb the next change, and is removed by it
        assert contents(again).keys() - {"tasks/.task.json.half.tmp"} == is_whole(again)
    assert len(seen) == (1 if change == "remove" else 4)
    assert set(seen) == {"old"} if first else seen[-1] == "new"


@pytest.mark.usefixtures("unchecked")
def test_a_suite_that_was_stopped_at_its_beginning_is_begun_anew(
    birds: Path, loaded: Suite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for write in (1, 2, 3, 5):
        for cleans in (True, False):
            folder = tmp_path / f"{write}{cleans}" / "suite"
            with monkeypatch.context() as patch:
                patch.setattr("nettailor.files.os.replace", Stop(os.replace, write, OSError(28, "full"), True))
                if not cleans:
                    patch.setattr(SuiteFolder, "clean", lambda *_: None)
                with pytest.raises(FileError, match="full"):
                    add(folder, [birds], loaded.backbone)
            assert folder.parent.exists() == (not cleans and write > 1)
            with pytest.raises(FileError, match="holds no suite"):
                SuiteFolder(folder).read()
            add(folder, [birds], loaded.backbone)
            assert contents(folder).keys() == is_whole(folder)


@pytest.mark.parametrize("name", ["weights.pt", "backbone.safetensors", "tasks/mine.txt"])
def test_a_folder_with_something_else_in_it_is_left_alone(birds: Path, shared: Any, tmp_path: Path, name: str) -> None:
    (tmp_path / "full" / name).parent.mkdir(parents=True)
    (tmp_path / "full" / name).write_text("mine")
    with pytest.raises(FileError, match="full: is not empty and holds no suite; choose another folder"):
        add(tmp_path / "full", [birds], shared)
    assert contents(tmp_path / "full") == {name: b"mine"}


def test_files_of_others_inside_a_suite_stay(suite: Path) -> None:
    (suite / "notes.txt").write_text("mine")
    strange = [suite / "tasks" / "birds", next((suite / "tasks").glob("birds-*"))]
    strange[0].mkdir()
    for folder in strange:
        (folder / "mine.txt").write_text("mine")
    remove(suite, ["birds"])
    mine = {str((folder / "mine.txt").relative_to(suite)) for folder in strange} | {"notes.txt"}
    assert contents(suite).keys() - is_whole(suite) == mine


def test_two_writers_do_not_collide(suite: Path) -> None:
    before = contents(suite)
    with lock_folder(suite), pytest.raises(FolderLockedError, match=f"is being worked on by process {os.getpid()} "):
        remove(suite, ["birds"])
    assert contents(suite) == before


def test_a_folder_that_can_not_be_written_is_said(
    suite: Path, birds: Path, shared: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(FileError, match=r"file/suite: can't be made \(Not a directory\); choose another folder"):
        add(tmp_path / "file" / "suite", [birds], shared)
    monkeypatch.setattr("nettailor.suite.folder.os.access", lambda *_: False)
    with pytest.raises(FileError, match="suite: can't be written; choose another folder"):
        remove(suite, ["birds"])


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"format": 2}, "suite.json: format: is 2, this nettailor reads 1; update nettailor"),
        ({"format": True}, "format: is True, this nettailor reads 1"),
        ({"more": 1}, "suite.json: more: unexpected"),
        ({"tasks": {"../birds": {"sha256": "0" * 64}}}, "'../birds' is no name for a task"),
        ({"tasks": {"birds": {"sha256": "../../etc"}}}, "tasks.birds.sha256: string should match pattern"),
        ({"packed": ["one"]}, "packed.0: input should be a valid integer"),
        ({"input": {"size": 1e9}}, "input"),
    ],
)
def test_an_index_is_held_to_its_schema(suite: Path, changed: dict[str, Any], says: str) -> None:
    path = suite / "suite.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changed))
    with pytest.raises(FileError) as raised:
        Suite.load(suite, backbone=TINY)
    assert says in str(raised.value)


KILLED = """
import os, signal, sys
from pathlib import Path
from nettailor.backbones.load import load_backbone
from nettailor.suite import changes
from nettailor.suite.changes import add, remove
from tests.fabricated import TINY

suite, delta = Path(sys.argv[1]), Path(sys.argv[2])
load_backbone(TINY, None, 16)

def tripping(real, left):
    def call(*given, **named):
        nonlocal left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return real(*given, **named)
    return call

for name in ("replace", "unlink", "rmdir", "rename"):
    for at in range(1, 8):
        child = os.fork()
        if not child:
            setattr(os, name, tripping(getattr(os, name), at))
            add(suite, [delta], TINY, replaces=True)
            os._exit(0)
        killed = os.WIFSIGNALED(os.waitpid(child, 0)[1])
        print(name, at, killed, (suite / "suite.json").read_text().replace("\\n", ""), flush=True)
        if not killed:
            break
        sys.stdin.readline()
"""


@pytest.mark.slow
def test_a_process_that_is_killed_leaves_the_old_suite_or_the_new_one(suite: Path, birds: Path, other: Path) -> None:
    """Killed at each rename and each removal of a change; each time the suite is loaded."""
    old = json.loads((suite / "suite.json").read_text())
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED, suite, other], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdin is not None
    assert process.stdout is not None
    kills = {"old": 0, "new": 0}
    for line in process.stdout:
        name, at, killed, text = line.split(" ", 3)
        found = json.loads(text)
        if killed == "True":
            kills["old" if found == old else "new"] += 1
            assert Suite.load(suite, backbone=TINY).tasks == ["birds", "signs"], (name, at)
            add(suite, [birds], TINY, replaces=True)  # and the next change works
            assert json.loads((suite / "suite.json").read_text()) == old
            assert contents(suite).keys() == is_whole(suite), (name, at)
            process.stdin.write("\n")
            process.stdin.flush()
    assert process.wait() == 0
    assert kills["old"] >= 4
    assert kills["new"] >= 3


@pytest.mark.slow
def test_a_process_that_is_killed_at_any_time_leaves_the_old_suite_or_the_new_one(suite: Path, other: Path) -> None:
    code = "import sys; from nettailor.suite.changes import add\nprint('on', flush=True)\nwhile True:\n"
    code += "    [add(sys.argv[1], [run], 'tests.tiny:tiny_resnet', replaces=True) for run in sys.argv[2:]]"
    old = shutil.copytree(suite, suite.parent / "old")
    first = next((old / "tasks").glob("birds-*"))
    for wait in (0.05, 0.6, 1.3):
        process = subprocess.Popen([sys.executable, "-c", code, suite, other, first], stdout=subprocess.PIPE)
        assert process.stdout is not None
        process.stdout.readline()
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(wait)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        assert Suite.load(suite, backbone=TINY).tasks == ["birds", "signs"]
        is_whole(suite)
