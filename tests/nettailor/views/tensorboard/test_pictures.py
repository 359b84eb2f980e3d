"""The pictures: gates over time for few and for many blocks, the search, the front, confusion matrices of any size."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from blocks import Backbone, Plan, TailoredNet
from nettailor.artifacts.confusion import Confusion
from nettailor.views.tensorboard import pictures
from nettailor.views.tensorboard.drawing import BLUE, BLUES, GONE, ORANGE, ORANGES
from nettailor.views.tensorboard.timeline import Timeline
from tests import fabricated


def timeline_of(student: TailoredNet) -> Timeline:
    """Two passes: every gate at 1, then the blocks removed and proxies at 0."""
    timeline = Timeline()
    timeline.begin("teacher", 2, 50)
    timeline.begin("student", 1, 10)
    timeline.begin("prune-1", 1, 10)
    timeline.gates["student", 1] = torch.ones_like(student.gates.fade)
    gates = torch.zeros_like(student.gates.fade)
    gates[:, 0] = float("nan")
    timeline.gates["prune-1", 1] = gates
    return timeline


def rows_of(student: TailoredNet) -> tuple[np.ndarray, int, int]:
    """The map of gates, its left edge and the height of a row."""
    image = pictures.gates_over_time(timeline_of(student), student.paths, student.backbone.block_names)
    assert image.height <= 1600
    height = (image.height - 66 - 84) // len(student.paths)
    return np.asarray(image), image.width - 20 - pictures.MAP_WIDTH, height


@pytest.mark.parametrize("depth", ["six", "sixty"])
def test_every_path_has_a_row_and_every_pass_its_columns(depth: str, backbone: Backbone, deep: TailoredNet) -> None:
    student = TailoredNet(backbone, 3, Plan(skips=3)) if depth == "six" else deep
    pixels, left, height = rows_of(student)
    for place, path in enumerate(student.paths):
        y = 66 + place * height + height // 2
        first, second = (tuple(pixels[y, left + pictures.MAP_WIDTH * part // 4].tolist()) for part in (1, 3))
        assert first == (BLUES[-1] if path.is_universal else ORANGES[-1]), path.key
        assert second == (GONE if path.is_universal else ORANGES[0]), path.key


def test_the_search_shows_student_rounds_recoveries_and_the_choice() -> None:
    trials = [{"macs": 1_000_000, "val_accuracy": 0.9}, {"macs": 500_000, "val_accuracy": 0.8}]
    recovered = [{"macs": 500_000, "after": 0.91}]
    report = fabricated.report()
    assert report.prune is not None
    image = pictures.search_of(replace(report, prune=replace(report.prune, trials=trials, recovered=recovered)), 1000)
    assert image is not None
    colours = {colour for _, colour in image.getcolors(2**20) or []}
    assert {BLUE, ORANGE} <= colours
    assert pictures.search_of(report, 0) is None, "nothing was tried"
    assert pictures.search_of(fabricated.without_teacher(), 0) is None


def test_the_front_is_drawn() -> None:
    image = pictures.front(fabricated.front())
    assert {BLUE, ORANGE} <= {colour for _, colour in image.getcolors(2**20) or []}


@pytest.mark.parametrize("count", [1, 3, 43, 242, 1000])
def test_a_confusion_matrix_has_a_place_for_each_pair(count: int) -> None:
    counts = (np.eye(count, dtype=int) * 3).tolist()
    if count > 1:
        counts[0] = [0] * (count - 1) + [3]
    image = pictures.confusion_matrix(Confusion("birds", [f"a long class name {n}" for n in range(count)], counts))
    assert max(image.size) <= 3300
    cell = int(np.clip(900 // count, 3, 34))
    margin, top = next(
        (x, y)
        for y in range(image.height)
        for x in range(image.width)
        if image.getpixel((x, y)) == (BLUES[0] if count > 1 else BLUES[-1])
    )
    corner = image.getpixel((margin + cell * count - 2, top + 1))
    assert corner == BLUES[-1], "the first class is always taken for the last"
