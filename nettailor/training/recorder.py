"""Where the figures of a training go while it runs: a protocol, so that training knows nothing of how they are shown.

fit -> Recorder.begin(stage) -> after every pass: gates(student), passed(losses, metrics) -> charts, pictures
"""

from __future__ import annotations

from typing import Protocol

from blocks import TailoredNet


class Recorder(Protocol):
    """Keeps what stages tell it. It may read the networks that it is given and changes nothing of a training.

    Attributes:
        step: optimiser steps of all stages so far.
    """

    @property
    def step(self) -> int: ...

    def begin(self, stage: str, done: int, steps: int, /) -> None:
        """A stage begins, goes on after `done` passes, or turns out to be over; each pass takes `steps` optimiser steps."""
        ...

    def gates(self, stage: str, epoch: int, student: TailoredNet, /) -> None:
        """A student as it is after `epoch` passes of a stage."""
        ...

    def passed(
        self, stage: str, epoch: int, losses: dict[str, float], metrics: dict[str, float], over: bool, /
    ) -> None:
        """A pass is behind us: the mean loss terms, what was measured after it, and whether the stage ends with it."""
        ...

    def graph(self, when: str, student: TailoredNet, /) -> None:
        """A student's paths at some point of a run, such as `before-training`."""
        ...

    def text(self, tag: str, text: str, /) -> None:
        """Something to read, as Markdown."""
        ...


class NoRecorder:
    """Keeps nothing."""

    step = 0

    def begin(self, stage: str, done: int, steps: int, /) -> None:
        """Keep nothing."""

    def gates(self, stage: str, epoch: int, student: TailoredNet, /) -> None:
        """Keep nothing."""

    def passed(
        self, stage: str, epoch: int, losses: dict[str, float], metrics: dict[str, float], over: bool, /
    ) -> None:
        """Keep nothing."""

    def graph(self, when: str, student: TailoredNet, /) -> None:
        """Keep nothing."""

    def text(self, tag: str, text: str, /) -> None:
        """Keep nothing."""
