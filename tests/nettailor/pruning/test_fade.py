"""Paths that fade out while a student trains, and their cut."""

from __future__ import annotations

import pytest
import torch

from blocks import Backbone, Plan, TailoredNet
from nettailor.data.batches import evaluation_batches
from nettailor.data.task import Task
from nettailor.pruning.fade import Fade
from nettailor.pruning.graph import BlockGraph
from nettailor.training.loop import accuracy
from nettailor.training.run import Run
from nettailor.training.stages import tailor
from tests.nettailor.conftest import STUDENT


def test_fading_ends_at_nothing_and_measures_the_cut(backbone: Backbone, task: Task) -> None:
    student = tailor(backbone, task, STUDENT, Run())
    gone = [path for path in student.paths if path.key in ("G2", "A0-3")]
    left = BlockGraph.of(student).without(gone)
    fade = Fade(student, left, 2.0, task.val)
    values = []
    for epoch in (0.0, 0.5, 1.0, 1.5, 2.0, 2.5):
        fade(epoch)
        values.append(float(student.gates.fade[gone[0].place]))
    assert values == pytest.approx([1.0, 0.75**2, 0.5**2, 0.25**2, 0.0, 0.0])
    assert student.live_paths() == left.paths
    assert fade.memory["after_cut"] == accuracy(student, task.val)


def test_a_faded_path_is_cut_without_a_jump(backbone: Backbone, task: Task) -> None:
    """What its removal does to the answers happens while it fades; an abrupt removal is the control."""
    student = tailor(backbone, task, STUDENT, Run()).eval()
    gone = [path for path in student.paths if path.key in ("G3", "G5")]
    left = BlockGraph.of(student).without(gone)
    x, _ = next(evaluation_batches(task.val, student.spec, torch.device("cpu")))
    fade = Fade(student, left, 1.0, task.val)
    answers = []
    for epoch in (0.0, 0.98, 1.0):  # a step of one in fifty is the last one before the cut
        fade(epoch)
        with torch.no_grad():
            answers.append(student(x))
    at_once, at_last = (float((logits - answers[-1]).norm()) for logits in answers[:2])
    assert 0 < at_last < 0.4 * at_once
    assert abs(fade.memory["before_cut"] - fade.memory["after_cut"]) <= 1 / len(task.val)


def test_no_epochs_are_a_cut_at_once(backbone: Backbone, task: Task) -> None:
    student = TailoredNet(backbone, 4, Plan(skips=1))
    gone = [path for path in student.paths if path.key == "G2"]
    left = BlockGraph.of(student).without(gone)
    fade = Fade(student, left, 0, task.val)
    assert not fade.is_over
    fade(0.0)
    assert fade.is_over
    assert student.live_paths() == left.paths
    assert set(fade.memory) == {"before_cut", "after_cut"}


def test_a_fade_that_is_over_or_has_nothing_to_do_touches_nothing(backbone: Backbone, task: Task) -> None:
    student = TailoredNet(backbone, 4, Plan(skips=1))
    whole = BlockGraph.of(student)
    idle = Fade(student, whole, 1.0, task.val)
    idle(2.0)
    assert idle.is_over
    assert idle.memory == {}
    gone = [path for path in student.paths if path.key == "G2"]
    cut_before = Fade(student, whole.without(gone), 1.0, task.val)
    cut_before.memory.update(before_cut=0.5, after_cut=0.4)  # as a checkpoint brings it back
    cut_before(0.5)
    cut_before(1.5)
    assert student.live_paths() == whole.paths
    assert cut_before.memory == {"before_cut": 0.5, "after_cut": 0.4}
