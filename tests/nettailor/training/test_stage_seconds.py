"""Where the time of a run goes: every second to one stage."""

from __future__ import annotations

from pathlib import Path

import pytest

from nettailor.training.stage_seconds import StageSeconds


class Clock:
    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 100.0
        monkeypatch.setattr("nettailor.training.stage_seconds.time.perf_counter", lambda: self.now)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def test_an_outer_stage_stands_still_while_an_inner_one_runs(clock: Clock) -> None:
    seconds = StageSeconds()
    with seconds.stage("prune"):
        clock.now += 1
        with seconds.stage("measure"):
            clock.now += 10
        clock.now += 2
    clock.now += 1000  # belongs to no stage
    with seconds.stage("prune"):
        clock.now += 4
    assert seconds.totals == {"prune": 7, "measure": 10}


def test_a_stage_that_fails_is_counted_and_is_over(clock: Clock) -> None:
    seconds = StageSeconds()

    def fail() -> None:
        clock.now += 3
        raise ValueError("wrong")

    with pytest.raises(ValueError, match="wrong"), seconds.stage("teacher"):
        fail()
    clock.now += 100
    with seconds.stage("student"):
        clock.now += 1
    assert seconds.totals == {"teacher": 3, "student": 1}


def test_what_was_written_while_a_stage_ran_is_where_another_process_goes_on(clock: Clock, tmp_path: Path) -> None:
    file = tmp_path / "seconds.json"
    seconds = StageSeconds(file)
    with seconds.stage("student"):
        clock.now += 5
        seconds.write()
        clock.now += 7  # lost: the process is killed before it writes again
    again = StageSeconds(file)
    assert again.totals == {"student": 5}
    again.add("student", 2)
    with again.stage("student"):
        clock.now += 1
    assert again.totals == {"student": 8}
    assert seconds.totals == {"student": 12}, "nothing is counted twice by writing"
