"""What a person sees while training runs: a live bar on a terminal, one plain line per epoch elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

PLAIN_WIDTH = 120  # of tables in a file or pipe, which have no width of their own


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
        with Progress(TextColumn(name), BarColumn(bar_width=18), TimeRemainingColumn(), transient=True) as bars:
            bar = bars.add_task(name, total=total)
            yield lambda: bars.advance(bar)


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
        passed = time.perf_counter() - self._start
        left = passed / (number - self._first) * (self._epochs - number)
        line = f"{self._name:<10} {number:>3}/{self._epochs}  {_figures(losses)}  {self._metrics}  {clock(left)} left"
        self._display.say(line)


def clock(seconds: float) -> str:
    """Seconds as h:mm:ss or m:ss."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _figures(values: dict[str, float]) -> str:
    return "  ".join(f"{name} {value:.3f}" for name, value in values.items())
