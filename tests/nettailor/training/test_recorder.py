"""What a training tells its recorder: where a stage stands, each pass once, the end."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from blocks import Backbone
from nettailor.data.task import Task
from nettailor.training.checkpoint import Checkpoints
from nettailor.training.config import TrainingConfig
from nettailor.training.recorder import NoRecorder
from nettailor.training.run import Run
from tests.nettailor.training.conftest import Stopped, Stopping, everything, fit_small


class Kept(NoRecorder):
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.told: list[tuple[Any, ...]] = []

    def begin(self, stage: str, done: int, steps: int, /) -> None:
        self.told.append(("begin", stage, done, steps))

    def gates(self, stage: str, epoch: int, student: object, /) -> None:
        self.told.append(("gates", stage, epoch))

    def passed(self, stage: str, epoch: int, losses: object, metrics: object, over: bool, /) -> None:
        self.told.append(("passed", stage, epoch, over))


def test_passes_are_told_one_by_one_and_a_stage_that_goes_on_says_from_where(task: Task, tmp_path: Path) -> None:
    with pytest.raises(Stopped):
        fit_small(task, Run(checkpoints=Checkpoints(tmp_path), recorder=Stopping(2, Stopped)))
    again, over = Kept(), Kept()
    fit_small(task, Run(checkpoints=Checkpoints(tmp_path), recorder=again))
    assert again.told == [("begin", "small", 2, 3), ("passed", "small", 3, True)]
    fit_small(task, Run(checkpoints=Checkpoints(tmp_path), recorder=over))
    assert over.told == [("begin", "small", 3, 3)], "so that the time axis knows its steps"


def test_steps_are_those_of_the_optimiser(task: Task) -> None:
    kept = Kept()
    fit_small(task, Run(training=TrainingConfig(accumulate=2), recorder=kept), epochs=1)
    assert kept.told[0] == ("begin", "small", 0, 2)


@pytest.mark.slow
def test_gates_are_told_before_the_pass_of_every_student_stage(backbone: Backbone, task: Task) -> None:
    kept = Kept()
    everything(backbone, task, Run(recorder=kept))
    places = {told[:3] for told in kept.told}
    students = [told for told in kept.told if told[0] == "passed" and told[1] != "teacher"]
    assert all(("gates", stage, epoch) in places for _, stage, epoch, _ in students)
    assert not any(told[0] == "gates" and told[1].startswith("teacher") for told in kept.told)
