"""One time axis: steps of all stages one behind the other, the same after a kill."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from nettailor.views.tensorboard.timeline import NAME, Timeline


def through(timeline: Timeline) -> Timeline:
    for stage, passes, steps in (("teacher", 3, 10), ("student", 2, 5), ("prune-1", 2, 5)):
        timeline.begin(stage, passes, steps)
        timeline.stages[stage].recorded = passes
        if stage != "teacher":
            for epoch in range(1, passes + 1):
                timeline.gates[stage, epoch] = torch.full((2, 3), float(epoch))
    return timeline


def test_steps_go_on_from_stage_to_stage() -> None:
    timeline = through(Timeline())
    assert [timeline.step(*place) for place in (("teacher", 1), ("teacher", 3), ("student", 1), ("prune-1", 2))] == [
        *(10, 30, 35, 50),
    ]
    assert timeline.now == 50
    assert [column[:3] for column in timeline.columns()] == [
        ("student", 30, 35),
        ("student", 35, 40),
        ("prune-1", 40, 45),
        ("prune-1", 45, 50),
    ]


def test_it_is_the_same_when_it_is_read_back(tmp_path: Path) -> None:
    before = through(Timeline(tmp_path))
    before.gates["student", 1][0, 0] = float("nan")
    before.write()
    after = Timeline.read(tmp_path)
    assert after.stages == before.stages
    assert list(after.gates) == list(before.gates)
    torch.testing.assert_close(after.gates["student", 1], before.gates["student", 1], equal_nan=True)


def test_a_stage_that_lost_its_last_pass_stands_where_its_checkpoint_stands() -> None:
    timeline = through(Timeline())
    timeline.begin("prune-1", 1, 5)
    assert timeline.now == 45
    assert timeline.stages["prune-1"].recorded == 2, "its figures are in the event file already"


@pytest.mark.parametrize("content", [b"", b"no tensors", b"\x02\x00\x00\x00\x00\x00\x00\x00{}"])
def test_a_damaged_file_costs_the_pictures_and_not_the_run(tmp_path: Path, content: bytes) -> None:
    (tmp_path / NAME).write_bytes(content)
    assert Timeline.read(tmp_path).stages == {}
