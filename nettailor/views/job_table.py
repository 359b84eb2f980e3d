"""Many jobs as they run: on a terminal one table, elsewhere plain lines that begin with the job's name.

jobs, about 41:10 left
job                state                  left
digits             student 12/30          3:05
gtsrb              waiting
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Literal

from rich.live import Live
from rich.table import Table

from nettailor.progress import Display, Event, Line, StageProgress, TimeLeft, clock

State = Literal["running", "failed", "waiting", "done"]
ORDER: tuple[State, ...] = ("running", "failed", "waiting", "done")  # what comes first where not all rows fit
OTHER_ROWS = 6  # of a terminal: title, headings, lines, caption, and one for what is typed


@dataclass
class _Row:
    state: State = "waiting"
    progress: StageProgress | None = None
    passes: dict[str, float] = field(default_factory=dict)  # behind it, by stage


class JobTable:
    """Shows the events and states of many jobs; a context manager.

    Args:
        passes: about how many passes over the data each job's stages take in their order, by the job's name: the time left
            is reckoned from them.
    """

    def __init__(self, display: Display, passes: Mapping[str, Mapping[str, int]]) -> None:
        self.display, self._passes = display, passes
        self._rows = {name: _Row() for name in passes}
        self._left = TimeLeft({name: sum(stages.values()) for name, stages in passes.items()})
        self._live = Live(console=display.console, get_renderable=self.table, refresh_per_second=4, transient=True)

    def __enter__(self) -> JobTable:
        if self.display.live:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.display.live:
            self._live.stop()

    def show(self, event: Event) -> None:
        """Take in what a job tells."""
        row = self._rows[event.job]
        if isinstance(event, Line):
            if not (event.of_epoch and self.display.live):  # the table says it already
                self._say(event.job, event.text)
            return
        row.progress = event
        row.passes[event.stage] = event.done
        self._left.move(event.job, sum(row.passes.values()))

    def start(self, job: str, where: str = "") -> None:
        """A job has started, or starts once more."""
        self._rows[job].state = "running"
        self._rows[job].progress = None
        self._say(job, f"started{where}")

    def end(self, job: str, error: str = "") -> None:
        """A job has ended."""
        self._rows[job].state = "failed" if error else "done"
        self._left.end(job)
        count = sum(row.state in ("failed", "done") for row in self._rows.values())
        self._say(job, (f"failed: {error}" if error else "done") + f" ({count} of {len(self._rows)}{self._all_left()})")

    def say(self, job: str, text: str) -> None:
        """Say something of a job, a line or several."""
        for line in text.strip().splitlines():
            self._say(job, line)

    def seconds_left(self, job: str) -> float | None:
        """About how long a running job still takes; None where nothing is known yet."""
        row = self._rows[job]
        progress = row.progress
        if row.state != "running" or progress is None or not progress.seconds:
            return None
        left = progress.epochs - progress.done
        expected = self._passes[job]
        if (phase := _phase(progress.stage)) in expected:
            behind = sum(done for stage, done in row.passes.items() if _phase(stage) == phase)
            later = list(expected)[list(expected).index(phase) + 1 :]
            left = max(left, expected[phase] - behind) + sum(expected[stage] for stage in later)
        return left * progress.seconds

    def table(self) -> Table:
        """The jobs as they are now, as many as the terminal has room for."""
        states = [row.state for row in self._rows.values()]
        caption = ", ".join(f"{states.count(state)} {state}" for state in ORDER if state in states)
        table = Table(title=f"jobs{self._all_left()}", title_justify="left", caption=caption, caption_justify="left")
        table.add_column("job", no_wrap=True)
        table.add_column("state", no_wrap=True, min_width=16)
        table.add_column("left, about", justify="right", no_wrap=True)
        room = max(1, self.display.console.height - OTHER_ROWS)
        first = sorted(self._rows, key=lambda name: ORDER.index(self._rows[name].state))[:room]
        for name in [name for name in self._rows if name in first]:
            left = self.seconds_left(name)
            table.add_row(name, self._state(name), "" if left is None else clock(left))
        return table

    def _state(self, job: str) -> str:
        row = self._rows[job]
        if row.state != "running" or row.progress is None:
            return row.state
        progress = row.progress
        return f"{progress.stage} {min(int(progress.done) + 1, progress.epochs)}/{progress.epochs}"

    def _all_left(self) -> str:
        """`, about 1:02:03 left` of all jobs together, once that is known."""
        seconds = self._left.seconds()
        return "" if seconds is None else f", about {clock(seconds)} left"

    def _say(self, job: str, text: str) -> None:
        self.display.say(f"{job}: {text}")


def _phase(stage: str) -> str:
    """`prune-3` is a part of `prune`."""
    return stage.split("-")[0]
