"""How wide thinned blocks are: what is measured, which width is the best for a size, and where nothing is chosen."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from blocks import Backbone, InputSpec, TailoredNet, compact
from blocks.paths import UNIVERSAL
from blocks.thinned import PARTS
from blocks.warm_start import thinned_paths
from nettailor.data.task import Task
from nettailor.pruning import folds
from nettailor.pruning import widths as module
from nettailor.pruning.config import PruneConfig
from nettailor.pruning.folds import FoldJudge
from nettailor.pruning.graph import BlockGraph
from nettailor.pruning.refit import cut_and_refit
from nettailor.pruning.states import Begun
from nettailor.pruning.widths import STAGE, Way, best_widths, choose_widths, kept_widths
from nettailor.training import stages
from nettailor.training.checkpoint import Checkpoints, restore
from nettailor.training.config import StudentConfig, TeacherConfig
from nettailor.training.run import Run
from nettailor.training.stages import begin, new_student, train
from tests import tiny

LOW = 1e-5
"""A teacher's rate that keeps pretrained features."""
SETTINGS = StudentConfig(skips=1, epochs=1, batch=16, warm_start=32, views=0, matching_weight=0.0)
PRUNE = PruneConfig(measured_on=12)
WIDE = replace(PRUNE, how="budget", budget=0.75)
"""With which not every thinned block has a quarter of the channels."""


@pytest.fixture(scope="module")
def inverted() -> Backbone:
    return Backbone(tiny.tiny_inverted(), InputSpec(16, (0.5,) * 3, (0.25,) * 3), "inverted")


@torch.no_grad()
def begun(backbone: Backbone, task: Task, run: Run, settings: StudentConfig = SETTINGS) -> tuple[TailoredNet, Backbone]:
    """A student at its start, and its teacher."""
    run.rate = LOW
    torch.manual_seed(5)
    teacher = backbone.teacher(len(task.classes)).requires_grad_(False).eval()
    for parameter in teacher.head.parameters():
        parameter *= 100  # it is sure of its answers
    student = new_student(backbone, task, settings, run)
    begin(student, task, settings, run, teacher)
    return student, teacher


def forms_of(student: TailoredNet) -> dict[str, str]:
    return {path.key: path.form for path in thinned_paths(student)}


BLOCK = Way(10.0, 0.0)
WAYS = {
    1: {UNIVERSAL: BLOCK, "narrow": Way(2.0, 8.0), "wide": Way(7.0, 0.3)},  # 0.1 a unit saved, then 1.54
    2: {UNIVERSAL: BLOCK, "narrow": Way(2.0, 0.8), "wide": Way(7.0, 0.6)},  # 0.1
    3: {UNIVERSAL: BLOCK, "narrow": Way(2.0, 100.0), "wide": Way(7.0, 30.0)},  # 10, then 14
}


@pytest.mark.parametrize(
    ("limit", "forms"),
    [
        (22.0, ("wide", "narrow", "wide")),  # block 3 stays: what replaces it first
        (19.0, ("wide", "narrow", "wide")),
        (14.0, ("narrow", "narrow", "wide")),
        (1.0, ("narrow", "narrow", "narrow")),  # nothing is that cheap
    ],
)
def test_the_first_network_that_is_cheap_enough_has_the_widths(limit: float, forms: tuple[str, ...]) -> None:
    assert best_widths(WAYS, lambda price, loss: price <= limit) == dict(enumerate(forms, 1))


@pytest.mark.parametrize(
    ("limit", "forms"),
    [
        (0.0, ("wide", "narrow", "wide")),
        (1.1, ("wide", "narrow", "wide")),  # 0.3 and 0.8
        (1.2, ("narrow", "narrow", "wide")),
        (1000.0, ("narrow", "narrow", "narrow")),  # nothing loses that much
    ],
)
def test_the_first_network_that_loses_as_much_has_the_widths(limit: float, forms: tuple[str, ...]) -> None:
    assert best_widths(WAYS, lambda price, loss: loss >= limit) == dict(enumerate(forms, 1))


def test_where_nothing_is_lost_the_narrowest_is_taken() -> None:
    free = {UNIVERSAL: BLOCK, "narrow": Way(2.0, 0.0), "wide": Way(7.0, 0.0)}
    assert best_widths({1: free}, lambda price, loss: True) == {1: "narrow"}


@pytest.mark.parametrize("prune", [PRUNE, replace(PRUNE, drop=2.0), replace(PRUNE, how="budget", budget=0.6)])
def test_every_width_is_measured_alone_in_its_layer_and_fitted(
    inverted: Backbone, task: Task, monkeypatch: pytest.MonkeyPatch, prune: PruneConfig
) -> None:
    """On the pictures and at the prices of the run; how one loss is measured is tested in test_importance.py."""
    run = Run()
    student, teacher = begun(inverted, task, run)
    given: dict[int, dict[str, Way]] = {}
    asked: list[Callable[[float, float], bool]] = []

    def choose(ways: dict[int, dict[str, Way]], is_enough: Callable[[float, float], bool]) -> dict[int, str]:
        given.update(ways)
        asked.append(is_enough)
        return best_widths(ways, is_enough)

    monkeypatch.setattr(module, "best_widths", choose)
    passes = choose_widths(student, teacher, task, prune, SETTINGS, run)
    thin = thinned_paths(student)
    assert len(thin) == 2
    assert sorted(given) == [path.target for path in thin]
    blocks = {path.target: path for path in student.paths if path.is_universal}
    others = sum(student.costs[path].macs for layer, path in blocks.items() if layer not in given)
    (is_enough,) = asked
    limit = 0.6 * inverted.cost.macs - student.fixed_cost().macs - others
    if prune.how == "budget":
        assert (is_enough(limit, 0.0), is_enough(limit + 1, 0.0), is_enough(limit + 1, 1e9)) == (True, False, False)
    else:
        assert (is_enough(1e9, 0.2 * prune.drop), is_enough(0.0, 0.2 * prune.drop - 1e-6)) == (True, False)
    looked_at = (len(PARTS) + 2) * 32 + len(PARTS) * 2 * 12
    assert passes == pytest.approx(looked_at / len(task.train))
    for layer, ways in given.items():
        assert list(ways) == [UNIVERSAL, *PARTS]
        assert ways[UNIVERSAL] == Way(student.costs[blocks[layer]].macs, 0.0)
        prices = [ways[form].price / ways[UNIVERSAL].price for form in PARTS]
        assert prices == pytest.approx(list(PARTS.values()), rel=0.1)
    layer = thin[-1].target
    losses = {form: ways.loss for form, ways in given[layer].items()}
    assert losses["thinned"] > losses["thinned_three_quarters"]


def test_a_student_with_other_widths_is_a_student_like_others(inverted: Backbone, task: Task) -> None:
    """Its thinned blocks are fitted, it trains, is cut, and its compact network gives what it gives."""
    run = Run()
    student, teacher = begun(inverted, task, run)
    choose_widths(student, teacher, task, WIDE, SETTINGS, run)
    assert "thinned_three_quarters" in forms_of(student).values()
    assert student.net_plan.paths == tuple(student.paths)
    train(student, teacher, task, SETTINGS, run)
    cut_and_refit(student, [p for p in student.paths if not p.is_universal or p.target == 1], task, run)
    x = torch.rand(3, 3, 16, 16)
    student.eval()
    net = compact(student)
    torch.testing.assert_close(net(x), student(x))
    assert {path.key: path.form for path in net.paths if path.key in forms_of(student)} == forms_of(student)
    assert net.cost().macs == student.cost().macs


@pytest.mark.parametrize(
    ("settings", "prune", "rate"),
    [
        (replace(SETTINGS, proxies="thinned"), PRUNE, LOW),
        (replace(SETTINGS, warm_start=0), PRUNE, LOW),
        (SETTINGS, replace(PRUNE, cut="fade"), LOW),
        (SETTINGS, PRUNE, 2e-3),
    ],
)
def test_elsewhere_they_stay_quarters(
    inverted: Backbone, task: Task, settings: StudentConfig, prune: PruneConfig, rate: float
) -> None:
    run = Run()
    student, teacher = begun(inverted, task, run, settings)
    run.rate = rate
    before = {name: tensor.clone() for name, tensor in student.task_tensors().items()}
    assert choose_widths(student, teacher, task, prune, settings, run) == 0
    assert set(forms_of(student).values()) == {"thinned"}
    assert all(torch.equal(tensor, before[name]) for name, tensor in student.task_tensors().items())


def test_where_milliseconds_are_counted_they_stay_quarters(inverted: Backbone, task: Task) -> None:
    run = Run()
    student, teacher = begun(inverted, task, run)
    student.use_cost_model(replace(student.cost_model, unit="latency"))
    assert choose_widths(student, teacher, task, PRUNE, SETTINGS, run) == 0
    with pytest.raises(ValueError, match="not measured"):
        student.reform({path.key: "thinned_half" for path in thinned_paths(student)})


def test_a_run_that_goes_on_has_the_widths_that_it_had(
    inverted: Backbone, task: Task, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = Run(checkpoints=Checkpoints(tmp_path))
    student, teacher = begun(inverted, task, first)
    passes = choose_widths(student, teacher, task, WIDE, SETTINGS, first)
    assert "thinned_three_quarters" in forms_of(student).values()
    assert kept_widths(first) == {}, "it isn't trained: they are put in once it has begun"
    monkeypatch.setattr(module, "best_widths", lambda *_: pytest.fail("they were chosen already"))
    before_training = Run(checkpoints=Checkpoints(tmp_path))
    again, _ = begun(inverted, task, before_training)
    torch.manual_seed(11)  # a teacher that is read and not trained leaves another state behind
    assert choose_widths(again, teacher, task, WIDE, SETTINGS, before_training) == passes
    for name, tensor in again.task_tensors().items():
        torch.testing.assert_close(tensor, student.task_tensors()[name])
    train(student, teacher, task, SETTINGS, first)
    trained = Run(checkpoints=Checkpoints(tmp_path))
    third, _ = begun(inverted, task, trained)
    third.reform(kept_widths(trained))
    assert choose_widths(third, teacher, task, WIDE, SETTINGS, trained) == passes
    assert forms_of(third) == forms_of(student)
    train(third, teacher, task, SETTINGS, trained)
    restore(third.task_tensors(), student.task_tensors(), "the student")  # every tensor has its place
    first.checkpoints.hand_over(STAGE, tmp_path / "nets", 1.0)
    elsewhere = Checkpoints(tmp_path / "elsewhere")
    assert elsewhere.take_over(tmp_path / "nets") == {STAGE: 1.0}, "another size for a finished student"
    assert elsewhere.load(STAGE)[1]["forms"] == forms_of(student)  # type: ignore[index]
    (tmp_path / f"{STAGE}.safetensors").unlink()
    earlier, _ = begun(inverted, task, trained)
    assert choose_widths(earlier, teacher, task, WIDE, SETTINGS, trained) == 0
    assert kept_widths(trained) == {}
    assert set(forms_of(earlier).values()) == {"thinned"}, "as before there were widths"


def test_a_student_that_has_begun_and_was_not_trained_goes_on_with_its_widths_and_tensors(
    inverted: Backbone, task: Task, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also in a run that counts in milliseconds, which chooses no widths."""
    first = Run(checkpoints=Checkpoints(tmp_path))
    student, teacher = begun(inverted, task, first)
    choose_widths(student, teacher, task, WIDE, SETTINGS, first)
    assert Begun.of(student, first) is not None
    later = Run(checkpoints=Checkpoints(tmp_path))
    monkeypatch.setattr(stages, "warm_start", lambda *_, **__: pytest.fail("it has begun"))
    again, _ = begun(inverted, task, later)
    again.reform(kept_widths(later))
    assert forms_of(again) == forms_of(student)
    monkeypatch.setattr(module, "_Trial", lambda *_: pytest.fail("they were fitted"))
    choose_widths(again, teacher, task, WIDE, SETTINGS, later)
    Begun.of(again, later)
    own = again.task_tensors()
    assert all(torch.equal(tensor, own[name]) for name, tensor in student.task_tensors().items())


def test_networks_of_folds_have_the_widths_that_are_judged(
    inverted: Backbone, task: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Run()
    student, teacher = begun(inverted, task, run)
    student.reform(dict.fromkeys(forms_of(student), "thinned_half"))
    trained: list[dict[str, str]] = []
    monkeypatch.setattr(folds, "fit_student", lambda stage, net, *_: trained.append(forms_of(net)))
    monkeypatch.setattr(Run, "passes", lambda *_: 1)
    judge = FoldJudge(inverted, task, 2, TeacherConfig(), SETTINGS, run, lambda *_: teacher)
    right = torch.ones(len(task.val), dtype=torch.bool)
    judge.drop((right, right), BlockGraph.of(student).paths, "recover", 1, 100.0)
    assert trained == [forms_of(student)]
