"""A suite that changes on disk: taken up, or refused without harm; no request is lost on the way."""

from __future__ import annotations

import logging
import os
import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("fastapi")
pytest.importorskip("prometheus_client")
pytest.importorskip("python_multipart")
pytest.importorskip("uvicorn")

from blocks.trace import TRACING
from nettailor.errors import FileError
from nettailor.suite.server.current import CurrentSuite
from tests.nettailor.suite.server import brightness
from tests.nettailor.suite.server.brightness import TASKS
from tests.nettailor.suite.server.served import Served, png
from tests.nettailor.suite.server.test_app import wait_for

NEW = {"day": ["dark", "bright"], "colour": ["none", "some"]}


@pytest.fixture
def current(suite_folder: Path) -> CurrentSuite:
    return CurrentSuite(suite_folder, brightness.load)


def test_nothing_is_loaded_while_nothing_changes(current: CurrentSuite) -> None:
    before = current.now
    current.look()
    assert current.now is before


def test_a_changed_suite_is_taken_up(current: CurrentSuite, suite_folder: Path) -> None:
    before = current.now
    brightness.write(suite_folder, NEW)
    current.look()
    assert current.now.tasks == ("day", "colour")
    assert current.now.version != before.version
    assert (current.problem, current.taken_up) == (None, 1)
    assert before.tasks == tuple(TASKS), "what was taken in before is answered by what was there before"


def broken(folder: Path) -> None:
    (folder / "suite.json").write_text("{")


def gone(folder: Path) -> None:
    shutil.rmtree(folder)


def empty(folder: Path) -> None:
    brightness.write(folder, {})


@pytest.mark.parametrize("spoil", [broken, gone, empty])
def test_a_broken_suite_keeps_the_old_one_and_is_tried_again_once_mended(
    current: CurrentSuite, suite_folder: Path, spoil: Any, caplog: pytest.LogCaptureFixture
) -> None:
    before = current.now
    spoil(suite_folder)
    with caplog.at_level(logging.WARNING, "nettailor.serve"):
        current.look()
        current.look()
    assert current.now is before
    assert current.problem is not None
    assert str(suite_folder) in current.problem
    assert current.refused == 1, "not again while nothing changes"
    assert len(caplog.records) == 1
    assert current.problem in caplog.text
    brightness.write(suite_folder, NEW)
    current.look()
    assert (current.now.tasks, current.problem) == (("day", "colour"), None)


def test_a_file_mended_beside_the_index_is_seen_too(suite_folder: Path) -> None:
    def load(folder: Path) -> brightness.Brightness:
        if not (folder / "delta").exists():
            raise FileError(folder / "delta", "does not exist")
        return brightness.load(folder)

    (suite_folder / "delta").touch()
    current = CurrentSuite(suite_folder, load)
    (suite_folder / "delta").unlink()
    brightness.write(suite_folder, NEW)
    current.look()
    assert current.problem is not None
    (suite_folder / "delta").touch()
    current.look()
    assert current.now.tasks == ("day", "colour")


def test_a_network_that_fails_its_trial_is_not_taken_up(
    current: CurrentSuite, suite_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = current.now
    monkeypatch.setattr(brightness.Brightness, "__call__", lambda *_: 1 / 0)
    brightness.write(suite_folder, NEW)
    current.look()
    assert current.now is before
    assert current.problem == "ZeroDivisionError: division by zero"


def test_a_suite_that_can_not_be_loaded_at_first_is_an_error(suite_folder: Path) -> None:
    broken(suite_folder)
    with pytest.raises(FileError, match="suite.json"):
        CurrentSuite(suite_folder, brightness.load)


def test_no_request_is_lost_while_the_suite_changes_again_and_again(served: Served) -> None:
    stop = threading.Event()
    seen: set[str] = set()

    def asks() -> list[int]:
        found = []
        while not stop.is_set():
            answer = served.ask([png(255)], "day")
            found.append(answer.status_code)
            seen.add(answer.json()["suite"])
            label = answer.json()["pictures"][0]["tasks"]["day"][0]["label"]
            assert label == ("bright" if answer.json()["suite"] == new else "noon")
        return found

    old = served.app.state.current.now.version
    brightness.write(served.folder, NEW)
    wait_for(lambda: served.app.state.current.taken_up == 1)
    new = served.app.state.current.now.version
    with ThreadPoolExecutor(4) as pool:
        asking = [pool.submit(asks) for _ in range(4)]
        for turn in range(2, 8):
            brightness.write(served.folder, NEW if turn % 2 else TASKS)
            wait_for(lambda turn=turn: served.app.state.current.taken_up == turn)
            wait_for(lambda turn=turn: (new if turn % 2 else old) in seen)  # somebody was answered by it
        broken(served.folder)
        wait_for(lambda: served.app.state.current.problem)
        stop.set()
        statuses = [status for future in asking for status in future.result()]
    assert set(statuses) == {200}
    assert seen == {old, new}
    health = served.client.get("/healthz").json()
    assert (health["status"], health["suite"]) == ("stale", new)
    assert "suite.json" in health["problem"]


def test_requests_are_answered_while_a_changed_suite_loads(suite_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loading, go_on = threading.Event(), threading.Event()
    served = Served(suite_folder)

    def slowly(folder: Path) -> brightness.Brightness:
        loading.set()
        assert go_on.wait(20)
        return brightness.load(folder)

    monkeypatch.setattr(served.app.state.current, "_load", slowly)
    with served.client:
        old = served.app.state.current.now.version
        brightness.write(suite_folder, NEW)
        assert loading.wait(20)
        answer = served.ask([png(255)], "day")
        go_on.set()
        assert (answer.status_code, answer.json()["suite"]) == (200, old)
        wait_for(lambda: served.app.state.current.taken_up == 1)


def test_no_network_runs_while_another_is_traced(served: Served) -> None:
    served.suite.busy.clear()  # the trial of the suite, when it was loaded, has set it
    with ThreadPoolExecutor(1) as pool:
        with TRACING:
            asking = pool.submit(served.ask, [png(255)], "day")
            wait_for(lambda: b"nettailor_requests_in_progress 1.0" in served.client.get("/metrics").content)
            assert not served.suite.busy.wait(0.1)
        assert asking.result().status_code == 200


def test_an_index_that_is_replaced_within_the_clock_s_tick_is_seen(current: CurrentSuite, suite_folder: Path) -> None:
    about = (suite_folder / "suite.json").stat()
    brightness.write(suite_folder, {"yad": TASKS["day"], "lamp": TASKS["lamp"]})
    os.utime(suite_folder / "suite.json", ns=(about.st_atime_ns, about.st_mtime_ns))
    current.look()
    assert current.now.tasks == ("yad", "lamp"), "another file, though of the same size and time"
