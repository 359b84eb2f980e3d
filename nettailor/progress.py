"""What a person sees while training runs: a live bar on a terminal, one plain line per epoch elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

PLAIN_WIDTH = 120  # of tables in a file or pipe, which have no width of their own
SENT_EVERY = 0.5  # seconds between two reports of a job that runs elsewhere


class Display:
    """Progress of the stages of one run.

    Args:
        console: where it goes; rich's own choice (standard output) if left out.
        quiet: show nothing at all.
    """

    def __init__(self, console: Console | None = None, quiet: bool = False) -> None:
        width = None if sys.stdout.isatty() else PLAIN_WIDTH
        self.console = console or Console(quiet=quiet, highlight=False, width=width)
        self.live = self.console.is_terminal and not quiet

    def say(self, text: str) -> None:
        """One plain line, or a rich renderable's worth of them."""
        self.console.print(text, markup=False, soft_wrap=True)

    @contextmanager
    def stage(self, name: str, epochs: int, done: int, steps: int) -> Iterator[StageDisplay]:
        """Show a stage of `epochs` passes, `done` of which are behind us, of `steps` batches each."""
        if not self.live:
            yield StageDisplay(self, name, epochs, done, steps, None)
            return
        columns = (
            TextColumn("{task.description}"),
            BarColumn(bar_width=18),
            TimeRemainingColumn(compact=True),
            TextColumn("{task.fields[figures]}"),
        )
        with Progress(*columns, console=self.console, transient=True) as bars:
            yield StageDisplay(self, name, epochs, done, steps, bars)

    @contextmanager
    def turns(self, name: str, total: int) -> Iterator[Callable[[], None]]:
        """Show `total` turns of something short; call what is yielded after each."""
        if not self.live:
            self.say(f"{name} ...")
            yield lambda: None
            return
        columns = TextColumn(name), BarColumn(bar_width=18), MofNCompleteColumn(), TimeRemainingColumn()
        piped = not sys.stdout.isatty()  # rich would send what is printed to the bar's terminal, past the pipe
        with Progress(*columns, console=self.console, transient=True, redirect_stdout=not piped) as bars:
            bar = bars.add_task(name, total=total)
            yield lambda: bars.advance(bar)


class PartDisplay(Display):
    """Shows the stages of a part of a run on the run's display, under the part's name; what the part says is not shown.

    Args:
        whole: the run's display.
        part: the part's name.
    """

    def __init__(self, whole: Display, part: str) -> None:
        super().__init__(quiet=True)
        self._whole, self._part = whole, part

    @contextmanager
    def stage(self, name: str, epochs: int, done: int, steps: int) -> Iterator[StageDisplay]:
        """Show a stage of the part."""
        with self._whole.stage(f"{self._part} {name}", epochs, done, steps) as shown:
            yield shown


class StageDisplay:
    """One stage; `step` after every batch, `epoch` after every pass."""

    def __init__(self, display: Display, name: str, epochs: int, done: int, steps: int, bars: Progress | None) -> None:
        self._display, self._name, self._epochs, self._bars = display, name, epochs, bars
        self._first, self._start = done, time.perf_counter()
        self._metrics = ""
        self._bar = None
        if bars is not None:
            total, title = epochs * steps, f"{name} {done + 1}/{epochs}"
            self._bar = bars.add_task(title, total=total, completed=done * steps, figures="")

    def step(self, losses: dict[str, float]) -> None:
        """Show the loss terms of the last batch."""
        if self._bars is not None and self._bar is not None:
            self._bars.update(self._bar, advance=1, figures=f"{_figures(losses)}  {self._metrics}")

    def epoch(self, number: int, losses: dict[str, float], metrics: dict[str, float]) -> None:
        """Show the mean loss terms and the measurements of pass `number` (counted from 1)."""
        self._metrics = _figures(metrics)
        if self._bars is not None and self._bar is not None:
            self._bars.update(self._bar, description=f"{self._name} {min(number + 1, self._epochs)}/{self._epochs}")
            if number == self._epochs:
                self._display.say(f"{self._name:<10} {number} epochs  {_figures(losses)}  {self._metrics}")
            return
        self._display.say(self._line(number, losses))

    def _line(self, number: int, losses: dict[str, float]) -> str:
        """One pass as a plain line."""
        left = clock(self._seconds_per_epoch(number) * (self._epochs - number))
        return f"{self._name:<10} {number:>3}/{self._epochs}  {_figures(losses)}  {self._metrics}  {left} left"

    def _seconds_per_epoch(self, done: float) -> float:
        return (time.perf_counter() - self._start) / max(done - self._first, 1e-9)


@dataclass(frozen=True)
class Line:
    """A plain line that one of many jobs says; `of_epoch` where it is one of the many that follow each pass."""

    job: str
    text: str
    of_epoch: bool = False


@dataclass(frozen=True)
class StageProgress:
    """How far one of many jobs is.

    Attributes:
        stage: what it trains now.
        done: passes behind it, the one that runs counted by its batches.
        epochs: passes of the stage.
        seconds: what a pass takes; 0 where that is not known yet.
    """

    job: str
    stage: str
    done: float
    epochs: int
    seconds: float


Event = Line | StageProgress


class RemoteDisplay(Display):
    """The display of a job that runs in a process of its own: what it shows is sent to the one that shows all jobs.

    Args:
        job: the job's name.
        send: called with each event.
    """

    def __init__(self, job: str, send: Callable[[Event], None]) -> None:
        super().__init__(quiet=True)
        self.job, self.send = job, send

    def say(self, text: str) -> None:
        """Send one plain line, or several."""
        for line in text.strip("\n").splitlines():
            self.send(Line(self.job, line))

    @contextmanager
    def stage(self, name: str, epochs: int, done: int, steps: int) -> Iterator[StageDisplay]:
        """Send the progress of a stage."""
        self.send(StageProgress(self.job, name, done, epochs, 0.0))
        yield _RemoteStage(self, name, epochs, done, steps)


class _RemoteStage(StageDisplay):
    """Sends a line after every pass, and how far it is some times a second at most."""

    def __init__(self, display: RemoteDisplay, name: str, epochs: int, done: int, steps: int) -> None:
        super().__init__(display, name, epochs, done, steps, None)
        self._remote, self._steps, self._count, self._sent = display, steps, 0, 0.0

    def step(self, losses: dict[str, float]) -> None:
        self._count += 1
        if time.perf_counter() - self._sent >= SENT_EVERY:
            self._send(self._first + self._count / self._steps)

    def epoch(self, number: int, losses: dict[str, float], metrics: dict[str, float]) -> None:
        self._metrics = _figures(metrics)
        self._remote.send(Line(self._remote.job, self._line(number, losses), of_epoch=True))
        self._send(number)

    def _send(self, done: float) -> None:
        self._sent = time.perf_counter()
        self._remote.send(
            StageProgress(self._remote.job, self._name, done, self._epochs, self._seconds_per_epoch(done))
        )


class TimeLeft:
    """About how long many jobs still take, from what those took that have ended, or have come some way.

    Args:
        work: of each job by its name, in any one unit (passes); a job of no work counts as one of 1.
        now: seconds of some clock.
    """

    def __init__(self, work: Mapping[str, float], now: Callable[[], float] = time.perf_counter) -> None:
        self._work = {name: max(1.0, float(amount)) for name, amount in work.items()}
        self._done: dict[str, float] = {}
        self._now, self._start = now, now()

    def move(self, job: str, done: float) -> None:
        """So much of a job's work is behind it; more than all of it is all."""
        self._done[job] = min(done, self._work[job])

    def end(self, job: str) -> None:
        """A job has ended, well or not."""
        self._done[job] = self._work[job]

    def seconds(self) -> float | None:
        """About how long all that is left takes, at the pace so far; None where nothing is behind us, or nothing is left."""
        done = sum(self._done.values())
        left = sum(self._work.values()) - done
        return None if done <= 0 or left <= 0 else (self._now() - self._start) * left / done


def clock(seconds: float) -> str:
    """Seconds as h:mm:ss or m:ss."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _figures(values: dict[str, float]) -> str:
    return "  ".join(f"{name} {value:.3f}" for name, value in values.items())
