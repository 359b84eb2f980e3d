"""What is shown while training runs: plain lines without a terminal, bars on one, events where a job runs elsewhere."""

from __future__ import annotations

import io
import re
from types import SimpleNamespace

import pytest
from rich.console import Console

from nettailor import progress
from nettailor.progress import Display, Event, Line, PartDisplay, RemoteDisplay, StageProgress, TimeLeft, clock


def shown_on(terminal: bool) -> tuple[Display, io.StringIO]:
    text = io.StringIO()
    return Display(Console(file=text, force_terminal=terminal, width=100, highlight=False)), text


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0:00"), (59.6, "1:00"), (61, "1:01"), (3599.6, "1:00:00"), (36061, "10:01:01")]
)
def test_seconds_are_shown_as_a_clock_does(seconds: float, text: str) -> None:
    assert clock(seconds) == text


def test_without_a_terminal_every_pass_is_one_plain_line(monkeypatch: pytest.MonkeyPatch) -> None:
    seconds = iter([100.0, 110.0, 120.0])
    monkeypatch.setattr(progress, "time", SimpleNamespace(perf_counter=lambda: next(seconds)))
    display, text = shown_on(False)
    with display.stage("student", 4, 1, 5) as stage:
        stage.step({"ce": 9.0})
        stage.epoch(2, {"ce": 1.25}, {"val_accuracy": 0.5})
        stage.epoch(3, {"ce": 1.0}, {})
    assert text.getvalue().splitlines() == [
        "student      2/4  ce 1.250  val_accuracy 0.500  0:20 left",  # one pass took 10 s, and two are to come
        "student      3/4  ce 1.000    0:10 left",
    ]


def test_a_terminal_keeps_the_last_pass_of_a_stage_alone() -> None:
    display, text = shown_on(True)
    with display.stage("student", 2, 0, 1) as stage:
        for number in (1, 2):
            stage.step({"ce": 1.0})
            stage.epoch(number, {"ce": 1.0}, {"val_accuracy": 0.5})
    assert "student    2 epochs  ce 1.000  val_accuracy 0.500" in text.getvalue()
    assert "student    1 epochs" not in text.getvalue()
    assert "student 2/2" in text.getvalue(), "the bar's title"


def test_what_is_said_is_no_markup_and_is_not_broken_into_lines() -> None:
    display, text = shown_on(False)
    long = "[red]" + "word " * 50
    display.say(long)
    assert text.getvalue() == long + "\n"


def test_a_part_shows_its_stages_under_its_name_and_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    part = PartDisplay(Display(), "fold 2/5")
    part.say("a word of its own")
    with part.stage("teacher", 2, 0, 1) as shown:
        shown.epoch(1, {"ce": 0.5}, {"val_accuracy": 0.75})
    assert re.fullmatch(
        r"fold 2/5 teacher   1/2  ce 0\.500  val_accuracy 0\.750  \d:\d\d left\n", capsys.readouterr().out
    )


def test_a_quiet_display_shows_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    display = Display(quiet=True)
    display.say("something")
    with display.stage("student", 1, 0, 1) as stage, display.turns("measuring", 3) as advance:
        stage.epoch(1, {"ce": 1.0}, {})
        advance()
    assert capsys.readouterr().out == ""


def test_turns_are_named_where_no_bar_can_be(capsys: pytest.CaptureFixture[str]) -> None:
    display, text = shown_on(False)
    with display.turns("measuring", 3) as advance:
        advance()
    assert text.getvalue() == "measuring ...\n"


def test_a_job_elsewhere_sends_lines_and_how_far_it_is() -> None:
    events: list[Event] = []
    remote = RemoteDisplay("a", events.append)
    remote.say("\nreading\nmore")
    with remote.stage("student", 3, 1, 2) as shown:
        shown.step({"ce": 1.0})
        shown.step({"ce": 1.0})
        shown.epoch(2, {"ce": 1.0}, {"val_accuracy": 0.5})
    assert events[:2] == [Line("a", "reading"), Line("a", "more")]
    progress = [event for event in events if isinstance(event, StageProgress)]
    assert [(event.done, event.epochs) for event in progress] == [(1, 3), (1.5, 3), (2, 3)], "two steps are sent as one"
    (line,) = [event for event in events if isinstance(event, Line) and event.of_epoch]
    assert line.text.startswith("student      2/3  ce 1.000  val_accuracy 0.500")


def test_the_time_left_of_many_jobs_is_that_of_their_work_at_the_pace_so_far() -> None:
    seconds = [0.0]
    left = TimeLeft({"a": 10, "b": 20, "c": 0}, now=lambda: seconds[0])
    assert left.seconds() is None
    seconds[0] = 6.0
    left.move("a", 5)
    left.move("b", 1)
    assert left.seconds() == 25.0, "6 of 31 took 6 seconds"
    left.end("a")
    seconds[0] = 11.0
    assert left.seconds() == 20.0
    left.move("b", 99)
    left.end("c")
    assert left.seconds() is None, "nothing is left"
