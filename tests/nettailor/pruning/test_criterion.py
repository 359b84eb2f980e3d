"""When a network is as good as its teacher."""

from __future__ import annotations

import math

import pytest
import torch

from blocks import Backbone, Plan, TailoredNet
from nettailor.data.batches import evaluation_batches
from nettailor.data.task import Task
from nettailor.pruning.criterion import Drop, divergence
from nettailor.training.loop import answers


def hits(right: int, wrong: int) -> torch.Tensor:
    return torch.tensor([True] * right + [False] * wrong)


def test_the_error_is_that_of_the_mean_of_paired_differences() -> None:
    teacher, net = torch.ones(400, dtype=torch.bool), torch.ones(400, dtype=torch.bool)
    net[:8] = False
    teacher[-2:] = False
    drop = Drop.between(teacher, net)
    assert drop.points == pytest.approx(100 * (8 - 2) / 400)
    differences = [1.0] * 8 + [-1.0] * 2 + [0.0] * 390
    mean = sum(differences) / 400
    variance = sum((d - mean) ** 2 for d in differences) / 399
    assert drop.error == pytest.approx(100 * math.sqrt(variance / 400), rel=1e-6)
    assert drop.low == pytest.approx(drop.points - 1.96 * drop.error, rel=1e-3)
    assert drop.high == pytest.approx(drop.points + 1.96 * drop.error, rel=1e-3)


def test_no_difference_seen_is_not_known_to_be_none() -> None:
    few, many = Drop.between(hits(20, 0), hits(20, 0)), Drop.between(hits(5000, 0), hits(5000, 0))
    assert few.points == many.points == 0
    assert few.error == pytest.approx(100 / 20, rel=0.05)
    assert many.error == pytest.approx(100 / 5000, rel=0.05)
    assert not few.can_tell(0.5)
    assert many.can_tell(0.5)


@pytest.mark.parametrize(
    ("points", "error", "accepted"),
    [(0.0, 0.3, True), (0.3, 0.3, True), (0.4, 0.3, False), (0.0, 2.0, True), (0.1, 2.0, False), (-0.4, 2.0, True)],
)
def test_a_drop_is_accepted_with_its_error_and_none_where_pictures_cannot_tell(
    points: float, error: float, accepted: bool
) -> None:
    assert Drop(points, error, 100).is_within(0.5) is accepted


@torch.no_grad()
def test_the_divergence_is_the_mean_over_pictures_whatever_their_batches(
    backbone: Backbone, task: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    net, teacher = TailoredNet(backbone, 4, Plan(skips=1)).train(), backbone.teacher(4)
    ((x, _),) = evaluation_batches(task.val, backbone.spec, torch.device("cpu"))
    theirs, ours = (each.eval()(x).softmax(1).double() for each in (teacher, net))
    wanted = float((theirs * (theirs / ours).log()).sum(1).mean())
    net.train()
    monkeypatch.setattr("nettailor.data.batches.EVALUATION_BATCH", 7)
    assert divergence(net, answers(teacher, task.val), task.val) == pytest.approx(wanted, rel=1e-4)
    assert wanted > 1e-3
    assert net.training
