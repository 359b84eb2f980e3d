"""Where the time of a run goes: every second belongs to one stage, also across interruptions.

    with seconds.stage("prune"):  ...  -> seconds.totals["prune"]      checkpoint/seconds.json, written with every checkpoint

Stages may nest: while an inner one runs, the outer one stands still. What was running when a process was killed is lost from
the last checkpoint on, and so are its results.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from nettailor.files import read_json, write_json


class StageSeconds:
    """Seconds of a run by stage.

    Args:
        file: where they are kept between processes; nowhere if left out.
    """

    def __init__(self, file: Path | None = None) -> None:
        self.totals: dict[str, float] = {}
        self._file = file
        self._stage: str | None = None
        self._since = 0.0
        if file is not None and file.is_file():
            self.totals = {str(stage): float(seconds) for stage, seconds in read_json(file).items()}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """What happens inside takes its time from no other stage."""
        outer = self._switch(name)
        try:
            yield
        finally:
            self._switch(outer)

    def within(self, name: str) -> StageSeconds:
        """The same clock for a part of a run whose stages all count as one."""
        return _Within(self, name)

    def add(self, name: str, seconds: float) -> None:
        """Time that a stage took elsewhere, in the run whose networks this one begins with."""
        self.totals[name] = self.totals.get(name, 0.0) + seconds

    def write(self) -> None:
        """Keep what has been counted so far."""
        self._switch(self._stage)
        if self._file is not None:
            write_json(self._file, self.totals)

    def _switch(self, name: str | None) -> str | None:
        """Count the time since the last switch, and let another stage run; returns the one that ran."""
        now, before = time.perf_counter(), self._stage
        if before is not None:
            self.add(before, now - self._since)
        self._stage, self._since = name, now
        return before


class _Within(StageSeconds):
    """All stages as one stage of another clock."""

    def __init__(self, outer: StageSeconds, name: str) -> None:
        super().__init__()
        self.totals, self._outer, self._name = outer.totals, outer, name

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        with self._outer.stage(self._name):
            yield

    def add(self, name: str, seconds: float) -> None:
        self._outer.add(self._name, seconds)

    def write(self) -> None:
        self._outer.write()
