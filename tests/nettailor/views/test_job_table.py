"""The table of many jobs: states, time left, and plain lines where there is no terminal."""

from __future__ import annotations

import io

from rich.console import Console

from nettailor.progress import Display, Line, StageProgress
from nettailor.views.job_table import JobTable

PASSES = {"teacher": 10, "student": 20, "prune": 30, "recover": 5}


def display(terminal: bool) -> tuple[Display, io.StringIO]:
    text = io.StringIO()
    return Display(Console(file=text, force_terminal=terminal, width=100, height=24, highlight=False)), text


def cells(table: JobTable) -> list[list[str]]:
    return [list(row) for row in zip(*(column.cells for column in table.table().columns), strict=True)]  # type: ignore[arg-type]


def test_states_and_time_left() -> None:
    table = JobTable(display(False)[0], {"a": PASSES, "b": PASSES, "c": PASSES, "d": {}})
    for name in "abd":
        table.start(name)
    table.show(StageProgress("a", "student", 4.5, 20, 2.0))
    table.show(StageProgress("d", "linear", 1, 3, 4.0))
    table.end("b", "broken")
    assert cells(table) == [
        ["a", "student 5/20", "1:41"],  # (15.5 + 30 + 5) passes of 2 s
        ["b", "failed", ""],
        ["c", "waiting", ""],
        ["d", "linear 2/3", "0:08"],
    ]
    table.show(StageProgress("a", "prune-1", 5, 5, 2.0))
    table.show(StageProgress("a", "prune-2", 5, 5, 2.0))
    assert table.seconds_left("a") == 2 * (20 + 5)
    assert table.table().caption == "2 running, 1 failed, 1 waiting"


def test_rows_that_do_not_fit_give_way_to_those_that_run() -> None:
    table = JobTable(display(True)[0], {f"job {number}": PASSES for number in range(100)})
    table.start("job 77")
    table.end("job 0")
    shown = [row[0] for row in cells(table)]
    assert len(shown) == 18
    assert "job 77" in shown
    assert "job 0" not in shown
    assert table.table().caption == "1 running, 98 waiting, 1 done"


def test_plain_lines_begin_with_the_job_and_a_terminal_shows_no_passes() -> None:
    for terminal in (False, True):
        shown, text = display(terminal)
        with JobTable(shown, {"a": PASSES}) as table:
            table.start("a")
            table.show(Line("a", "left out: one picture"))
            table.show(Line("a", "student 2/3", of_epoch=True))
            table.end("a")
        said = text.getvalue()
        assert "a: started" in said
        assert "a: left out: one picture" in said
        assert "a: done (1 of 1)" in said
        assert ("a: student 2/3" in said) is not terminal
        assert ("\x1b" in said) is terminal


def test_the_time_left_of_all_jobs_is_in_the_title_and_behind_each_that_ends() -> None:
    shown, text = display(False)
    table = JobTable(shown, {"a": {"teacher": 10}, "b": {"teacher": 30}})
    assert table.table().title == "jobs"
    table.start("a")
    table.show(StageProgress("a", "teacher", 5, 10, 1.0))
    assert table.table().title == "jobs, about 0:00 left"
    table.end("a")
    table.end("b")
    assert "a: done (1 of 2, about 0:00 left)\n" in text.getvalue()
    assert text.getvalue().endswith("b: done (2 of 2)\n")
