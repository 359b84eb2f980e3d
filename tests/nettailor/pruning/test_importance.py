"""What removing paths costs, in each of the three ways to ask, against the plain way."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch.nn.functional import cross_entropy

from blocks import Backbone, TailoredNet
from nettailor.data.task import Task, load_task
from nettailor.pruning.graph import BlockGraph
from nettailor.pruning.importance import option_losses, some_pictures, taylor
from nettailor.training.config import StudentConfig
from nettailor.training.loop import Run
from nettailor.training.stages import tailor
from tests import tiny


@pytest.fixture
def task(digit_folder: Path) -> Task:
    return load_task(str(digit_folder), 16)


@pytest.fixture
def student(task: Task) -> TailoredNet:
    backbone: Backbone = tiny.tiny_backbone()
    made = tailor(backbone, task, StudentConfig(skips=2), Run()).eval()
    with torch.no_grad():
        made.gates.logits.add_(torch.randn_like(made.gates.logits))
    return made


def test_measured_losses_are_what_masking_costs(student: TailoredNet, task: Task) -> None:
    """Against the plain way: mask, run the whole student, take the difference of the losses."""
    before = student.gates.fade.clone()
    options = option_losses(student, task, "measured", 10)
    assert torch.equal(student.gates.fade, before)
    x, labels = some_pictures(student, task, 10)
    whole = BlockGraph.of(student)
    with torch.no_grad():
        base = float(cross_entropy(student(x), labels))
        for option in options[::5]:
            here = [path for path in whole.paths if path.target == option.layer]
            student.keep(whole.without(path for path in here if path not in option.kept).paths)
            assert option.loss == pytest.approx(float(cross_entropy(student(x), labels)) - base, abs=1e-4)
            student.keep(whole.paths)
    assert {option.layer for option in options} == set(range(1, student.depth + 1))
    assert all(option.loss == 0 for option in options if len(option.kept) == len(here_of(whole, option.layer)))


def here_of(graph: BlockGraph, layer: int) -> list[object]:
    return [path for path in graph.paths if path.target == layer]


def test_gates_are_attention_and_taylor_is_the_slope_of_the_loss(student: TailoredNet, task: Task) -> None:
    gates = student.gates().detach()
    graph = BlockGraph.of(student)
    for option in option_losses(student, task, "gate", 10):
        gone = [path for path in graph.paths if path.target == option.layer and path not in option.kept]
        assert option.loss == pytest.approx(sum(float(gates[path.place]) for path in gone), abs=1e-6)
    x, labels = some_pictures(student, task, 10)
    slopes = taylor(student, x, labels)
    path = graph.universal()[2]

    def loss(factor: float) -> float:
        """With one path's own weight in the mixture scaled, its neighbours' left as they are."""
        handle = student.module_of(path).register_forward_hook(lambda module, inputs, out: factor * out)
        with torch.no_grad():
            value = float(cross_entropy(student.double()(x.double()), labels))
        handle.remove()
        return value

    assert path.is_universal
    step = 1e-4
    assert slopes[path] == pytest.approx(abs(loss(1 + step) - loss(1 - step)) / (2 * step), rel=1e-2)


def test_more_pictures_than_there_are_is_all_of_them(student: TailoredNet, task: Task) -> None:
    assert len(some_pictures(student, task, 10**6)[1]) == len(task.val)
