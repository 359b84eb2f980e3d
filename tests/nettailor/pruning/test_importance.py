"""What removing paths costs, in each of the three ways to ask, against the plain way."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy

import pytest
import torch
from torch.nn.functional import cross_entropy

from blocks import Backbone, TailoredNet
from blocks.refit import refit
from blocks.student import Activity
from nettailor.data.batches import normalise
from nettailor.data.task import Task
from nettailor.progress import Display
from nettailor.pruning.graph import BlockGraph
from nettailor.pruning.importance import (
    GRADIENT_COPIES,
    Importance,
    Refits,
    loss_left_with,
    measured,
    option_losses,
    options_that_hold,
    some_pictures,
    taylor,
)
from nettailor.training.config import StudentConfig
from nettailor.training.run import Run
from nettailor.training.stages import tailor
from tests import tiny


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
    x, labels = next(some_pictures(student, task, 10, 10))
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


def test_losses_are_measured_on_folded_blocks(student: TailoredNet, task: Task) -> None:
    normed: list[str] = []
    for name, module in student.named_modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.register_forward_hook(lambda *_, name=name: normed.append(name))  # type: ignore[misc]
    option_losses(student, task, "measured", 10)
    assert {name.split(".")[0] for name in normed} == {"proxies"}


@torch.no_grad()
def test_losses_behind_a_fit_are_what_a_cut_and_its_fit_cost_against_the_teacher(
    student: TailoredNet, task: Task
) -> None:
    """For the last layer, behind which a cut fits no other one."""
    teacher = student.backbone.teacher(len(task.classes)).eval()
    pictures = [normalise(task.train.batch(torch.arange(40)), student.spec, torch.device("cpu"))]
    before = {name: tensor.clone() for name, tensor in student.task_tensors().items()}
    options = option_losses(student, task, "measured", 10, refits=Refits(lambda: pictures, teacher))
    assert all(torch.equal(tensor, before[name]) for name, tensor in student.task_tensors().items())
    plain = option_losses(student, task, "measured", 10)
    x, _ = next(some_pictures(student, task, 10, 10))
    answers = teacher(x).softmax(1)
    base, graph, compared = float(cross_entropy(student(x), answers)), BlockGraph.of(student), 0
    for option, unfitted in zip(options, plain, strict=True):
        here = [path for path in graph.paths if path.target == student.depth]
        if option.layer != student.depth or not option.kept or len(option.kept) == len(here):
            continue
        cut = deepcopy(student)
        refit(cut, graph.without(path for path in here if path not in option.kept).paths, pictures)
        assert option.loss == pytest.approx(float(cross_entropy(cut(x), answers)) - base, abs=1e-4)
        compared += abs(option.loss - unfitted.loss) > 1e-3
    assert compared >= 3


def here_of(graph: BlockGraph, layer: int) -> list[object]:
    return [path for path in graph.paths if path.target == layer]


def test_gates_are_attention_and_taylor_is_the_slope_of_the_loss(student: TailoredNet, task: Task) -> None:
    gates = student.gates().detach()
    graph = BlockGraph.of(student)
    for option in option_losses(student, task, "gate", 10):
        gone = [path for path in graph.paths if path.target == option.layer and path not in option.kept]
        assert option.loss == pytest.approx(sum(float(gates[path.place]) for path in gone), abs=1e-6)
    x, labels = next(some_pictures(student, task, 10, 10))
    slopes = taylor(student, [(x, labels)])
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
    assert len(next(some_pictures(student, task, 10**6, 10**6))[1]) == len(task.val)


def test_a_measurement_shows_how_far_it_is(student: TailoredNet, task: Task, monkeypatch: pytest.MonkeyPatch) -> None:
    shown, display = [], Display(quiet=True)

    @contextmanager
    def turns(name: str, total: int) -> Iterator[Callable[[], None]]:
        shown.append((name, total))
        yield lambda: shown.append(("advance", 1))

    monkeypatch.setattr(display, "turns", turns)
    one = sum(math.prod(shape) for shape in student.backbone.shapes) * 4
    monkeypatch.setattr("blocks.memory.ACTIVATIONS_AT_ONCE", 3 * one)
    option_losses(student, task, "measured", 10, display)
    (name, total), *advances = shown
    assert name == "prune      measuring what may go"
    assert total == len(advances) == 4 * len(options_that_hold(BlockGraph.of(student))), "ten pictures, three at once"


@pytest.mark.parametrize("kind", ["measured", "taylor"])
def test_losses_do_not_depend_on_how_many_pictures_fit_at_once(
    student: TailoredNet, task: Task, kind: Importance, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With room for some pictures only, none but those are ever looked at together."""
    whole = option_losses(student, task, kind, 20)
    seen: list[int] = []
    run = TailoredNet.run

    def counted(self: TailoredNet, x: torch.Tensor, known: Sequence[torch.Tensor | None] = ()) -> Activity:
        seen.extend([len(x)] if not known else [])
        return run(self, x, known)

    monkeypatch.setattr(TailoredNet, "run", counted)
    one = sum(math.prod(shape) for shape in student.backbone.shapes) * 4
    room = {"measured": 3, "taylor": 3 * GRADIENT_COPIES}[kind]
    monkeypatch.setattr("blocks.memory.ACTIVATIONS_AT_ONCE", room * one)
    parts = option_losses(student, task, kind, 20)
    assert max(seen) == 3
    assert sum(seen) == 20
    for option, other in zip(whole, parts, strict=True):
        assert (option.layer, option.kept) == (other.layer, other.kept)
        assert option.loss == pytest.approx(other.loss, abs=1e-5)
    assert any(abs(option.loss) > 1e-3 for option in whole)


def test_what_a_whole_graph_loses_does_not_depend_on_it_either(
    student: TailoredNet, task: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, graph = student.gates.fade.clone(), BlockGraph.of(student)
    left = graph.without([path for path in graph.paths if path.key in {"G2", "A0-2"}])
    whole = loss_left_with(student, left, task, 20)
    seen: list[int] = []
    student.stem.register_forward_hook(lambda module, inputs, out: seen.append(len(out)))
    one = sum(math.prod(shape) for shape in student.backbone.shapes) * 4
    monkeypatch.setattr("blocks.memory.ACTIVATIONS_AT_ONCE", 3 * one)
    assert loss_left_with(student, left, task, 20) == pytest.approx(whole, abs=1e-5)
    assert (max(seen), sum(seen)) == (3, 40), "each picture with all paths, and with those that are left"
    assert abs(whole) > 1e-3
    assert torch.equal(student.gates.fade, before)


def test_losses_of_partly_faded_paths_are_measured_against_the_fades_as_they_are(
    student: TailoredNet, task: Task
) -> None:
    """Every batch starts from the student as it is given, not from the last option of the batch before."""
    path = next(path for path in student.paths if path.key == "A1-3")
    student.gates.fade[path.place] = 0.5
    graph = BlockGraph.of(student)
    pictures = next(some_pictures(student, task, 6, 6))
    halves = [(pictures[0][:3], pictures[1][:3]), (pictures[0][3:], pictures[1][3:])]
    tried = options_that_hold(graph)
    for one, other in zip(measured(student, tried, [pictures]), measured(student, tried, halves), strict=True):
        assert one.loss == pytest.approx(other.loss, abs=1e-5)
    assert student.gates.fade[path.place] == 0.5
