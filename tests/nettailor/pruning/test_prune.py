"""What a pruning tries, what it keeps, and what a budget leaves."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from blocks import Backbone, Plan, TailoredNet, compact
from nettailor.data.task import Task, load_task
from nettailor.pruning import prune as pruning
from nettailor.pruning.config import PruneConfig
from nettailor.pruning.criterion import ROUNDING
from nettailor.pruning.graph import BlockGraph, GraphError
from nettailor.pruning.job import Job
from nettailor.pruning.prune import check_budget, prune, weak_proxies, weakest_blocks
from nettailor.pruning.rounds import LESS_RECOVERABLE, RECOVERABLE, Rounds, Trial
from nettailor.pruning.solver import cheapest
from nettailor.pruning.states import snapshot
from nettailor.training.checkpoint import Checkpoints, restore
from nettailor.training.config import StudentConfig, TeacherConfig
from nettailor.training.finetuning import finetune
from nettailor.training.loop import accuracy
from nettailor.training.passes import HARD
from nettailor.training.run import Run
from nettailor.training.stages import tailor, train
from tests import tiny
from tests.nettailor.conftest import STUDENT, TEACHER


def test_the_papers_choice_is_weak_proxies_and_weakest_blocks(backbone: Backbone, task: Task) -> None:
    student = tailor(backbone, task, StudentConfig(gates="softmax"), Run())
    with torch.no_grad():
        student.gates.logits[2, 0] = -2.5
        student.gates.logits[4, 0] = -1.0
        student.gates.logits[4, 1] = 1.0
    graph = BlockGraph.of(student)
    assert [path.key for path in weakest_blocks(graph, 2)] == ["G5", "G3"]
    strong = {p for p, data in graph.edges() if not p.is_universal and data["gate"] >= 0.05}
    assert set(weak_proxies(graph, 0.05)) == set(graph.proxies()) - strong
    assert "A4-5" in {path.key for path in strong}


def test_paper_pruning_keeps_the_leanest_within_the_drop(backbone: Backbone, task: Task) -> None:
    student_choice = StudentConfig(gates="softmax", epochs=1, batch=16, complexity="paper")
    teacher = finetune(backbone, task, TEACHER, Run())
    for drop, within in ((100.0, True), (0.0, None)):
        student = tailor(backbone, task, student_choice, Run())
        with torch.no_grad():
            student.gates.logits[:, 1] = 1.0
        choice = PruneConfig(how="paper", remove=(1, 2, 3), drop=drop, epochs=1, fade_epochs=0)
        result = prune(student, teacher, task, choice, student_choice, Run())
        assert [len(trial.removed) > 0 for trial in result.trials] == [True] * 3
        macs = [trial.macs for trial in result.trials]
        assert macs == sorted(macs, reverse=True)
        if within:
            assert result.val_accuracy >= result.least
            assert result.graph.macs() == min(macs)
        elif result.val_accuracy < result.least:
            assert result.val_accuracy == max(trial.val_accuracy for trial in result.trials)
        assert {p.key for p in student.live_paths()} == {p.key for p in result.graph.paths}
        assert accuracy(student, task.val) == result.val_accuracy


def test_gradual_pruning_keeps_the_last_network_that_stayed_within_the_drop(backbone: Backbone, task: Task) -> None:
    teacher = finetune(backbone, task, TeacherConfig(epochs=15, batch=16, start="fresh", lr=2e-3), Run())
    student = tailor(backbone, task, STUDENT, Run())
    train(student, teacher, task, STUDENT, Run())
    accuracy_before = accuracy(student, task.val)
    result = prune(student, teacher, task, PruneConfig(drop=0.0, epochs=1, patience=1), STUDENT, Run())
    good, best, peak = [], accuracy_before, accuracy_before
    for trial in result.trials:
        peak = max(peak, trial.val_accuracy)
        if trial.val_accuracy >= (result.least if peak >= result.least else peak - 1e-6):
            good.append(trial)
            best = trial.val_accuracy
    assert 2 <= len(result.trials) <= 2 * len(good) + 2
    expected = set(good[-1].paths) if good else {path.key for path in student.paths}
    assert {path.key for path in result.graph.paths} == expected
    assert accuracy(student, task.val) == result.val_accuracy == best


def test_a_round_that_costs_more_than_all_blocks_is_no_choice(backbone: Backbone) -> None:
    student = TailoredNet(backbone, 4, Plan())
    whole = sum(student.cost_model.paths[path] for path in student.paths if path.is_universal)
    state = Rounds(snapshot(student), best_value=0.6, peak=0.9)
    state.record(student, Trial([], 0, 1.1 * whole, 0.95, []), 0.9, 0.1)
    assert (state.best_value, state.misses) == (0.6, 0)
    state.record(student, Trial([], 0, 0.9 * whole, 0.92, []), 0.9, 0.1)
    assert state.best_value == 0.92


def test_where_no_round_is_within_the_drop_all_blocks_are_kept_and_no_proxy(backbone: Backbone, task: Task) -> None:
    student = tailor(backbone, task, STUDENT, Run())
    state = Rounds.fresh(student, task)
    assert len(student.live_paths()) == len(student.paths), "the student itself is left as it was"
    restore(student.task_tensors(), state.best, "student")
    assert student.live_paths() == [path for path in student.paths if path.is_universal]
    assert state.best_value == accuracy(student, task.val)


@pytest.mark.parametrize(("lr", "low"), [(1e-6, True), (4e-3, False)])
def test_what_recovery_may_bring_back_after_a_round_goes_by_the_rate(
    backbone: Backbone, task: Task, monkeypatch: pytest.MonkeyPatch, lr: float, low: bool
) -> None:
    asked: list[bool] = []

    def nothing(value: float, pictures: int, keeps_features: bool, taught: float) -> float:
        asked.append(keeps_features)
        return -1.0

    monkeypatch.setattr("nettailor.pruning.job.recoverable", nothing)
    student = tailor(backbone, task, STUDENT, Run())
    teacher = finetune(backbone, task, replace(TEACHER, epochs=1), Run())
    choice = PruneConfig(epochs=1, patience=0, shrink=0.9, lr=lr, cut="fade", largest_loss=0, folds=0)
    prune(student, teacher, task, choice, STUDENT, Run())
    assert set(asked) == {low}


@pytest.mark.slow
def test_rounds_go_on_below_the_drop_as_long_as_there_is_patience(
    backbone: Backbone, task: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nettailor.pruning.job.recoverable", lambda *_: -1.0)  # every round is a miss
    parts = pruning._parts
    monkeypatch.setattr(pruning, "_parts", lambda shrink, careful: parts(shrink, True))  # no round is too long
    teacher = finetune(backbone, task, TeacherConfig(epochs=15, batch=16, start="fresh", lr=2e-3), Run())
    ends = []
    student = tailor(backbone, task, STUDENT, Run())
    train(student, teacher, task, StudentConfig(epochs=15, batch=8), Run())
    start = snapshot(student)
    for patience, front in ((0, False), (1, False), (0, True)):
        restore(student.task_tensors(), start, "student")
        choice = PruneConfig(
            drop=0.0, epochs=1, patience=patience, shrink=0.9, lr=1e-6, fade_epochs=0, front=front, largest_loss=0
        )
        result = prune(student, teacher, task, choice, STUDENT, Run())
        ends.append(len(result.trials))
        prices = [trial.price for trial in result.trials if not trial.undone]
        assert prices == sorted(prices, reverse=True)
        assert len(result.steps) == len(result.trials)
        assert accuracy(student, task.val) == result.val_accuracy
    assert ends[:2] == [1, 2]
    assert ends[2] > 2


@pytest.mark.parametrize(("folds", "one_step"), [(0, False), (2, True)])
def test_where_folds_will_judge_each_round_is_of_one_step(
    backbone: Backbone, task: Task, folds: int, one_step: bool
) -> None:
    choice = PruneConfig(
        drop=1.0, epochs=1, patience=0, shrink=0.9, fade_epochs=0, importance="taylor", largest_loss=99, folds=folds
    )
    student = tailor(backbone, task, STUDENT, Run())
    whole = BlockGraph.of(student).price()
    first, *_ = prune(student, finetune(backbone, task, TEACHER, Run()), task, choice, STUDENT, Run()).trials
    assert (first.price > 0.8 * whole) == one_step


@pytest.mark.parametrize(
    ("configured", "classes", "least"), [(None, 4, 2.5), (None, 200, math.log(200)), (1.0, 200, 1.0)]
)
@pytest.mark.parametrize(("more", "at_once"), [(-0.01, True), (0.01, False)])
def test_a_round_is_of_several_steps_where_no_more_is_lost_than_by_guessing_among_many(
    backbone: Backbone,
    task: Task,
    configured: float | None,
    classes: int,
    least: float,
    more: float,
    at_once: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    task, lost = replace(task, classes=[str(number) for number in range(classes)]), least + more
    monkeypatch.setattr("nettailor.pruning.job.loss_left_with", lambda *_: lost)
    settings = {"shrink": 0.9, "fade_epochs": 0, "importance": "taylor", "largest_loss": configured}
    choice = PruneConfig(drop=1.0, epochs=1, patience=0, folds=0, **settings)  # type: ignore[arg-type]
    student = tailor(backbone, task, STUDENT, Run())
    whole = BlockGraph.of(student).price()
    first, *_ = prune(student, finetune(backbone, task, TEACHER, Run()), task, choice, STUDENT, Run()).trials
    assert (first.price < 0.8 * whole) == at_once


def test_a_long_round_that_falls_too_far_is_undone_and_short_ones_follow(
    backbone: Backbone, task: Task, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where a run is stopped right after the round that was undone."""
    monkeypatch.setattr("nettailor.pruning.job.recoverable", lambda *_: -1.0)  # every round falls too far
    choice = PruneConfig(
        drop=0.0, epochs=1, patience=1, shrink=0.9, lr=1e-6, fade_epochs=0, importance="taylor", largest_loss=99
    )
    teacher = finetune(backbone, task, TEACHER, Run())
    student = tailor(backbone, task, STUDENT, Run())
    whole, start = BlockGraph.of(student), snapshot(student)
    result = prune(student, teacher, task, choice, STUDENT, Run())
    first, second, *_ = result.trials
    assert [trial.undone for trial in result.trials] == [True, False, False]
    assert first.price < 0.8 * whole.price()
    assert 0.8 * whole.price() < second.price <= 0.9 * whole.price(), "one step, from where the first began"
    assert {"undone": True}.items() <= vars(first).items()

    class Stopped(Exception):
        pass

    def stop(self: Checkpoints, stage: str) -> None:
        if stage == "prune-1":
            raise Stopped

    restore(student.task_tensors(), start, "student")
    student.keep(whole.paths)
    with monkeypatch.context() as patched:
        patched.setattr(Checkpoints, "drop", stop)
        with pytest.raises(Stopped):
            prune(student, teacher, task, choice, STUDENT, Run(checkpoints=Checkpoints(tmp_path)))
    restore(student.task_tensors(), start, "student")
    again = prune(student, teacher, task, choice, STUDENT, Run(checkpoints=Checkpoints(tmp_path)))
    assert [vars(trial) for trial in again.trials] == [vars(trial) for trial in result.trials]


@pytest.mark.parametrize(("rate", "kind"), [(4e-3, "taylor"), (1e-3, "measured")])
def test_what_goes_first_is_measured_where_the_rate_is_low(
    backbone: Backbone, task: Task, monkeypatch: pytest.MonkeyPatch, rate: float, kind: str
) -> None:
    asked: list[tuple[object, ...]] = []

    class Asked(Exception):
        pass

    def losses(*given: object) -> None:
        asked.append(given)
        raise Asked

    monkeypatch.setattr("nettailor.pruning.prune.option_losses", losses)
    student, teacher, run = tailor(backbone, task, STUDENT, Run()), backbone.teacher(len(task.classes)).eval(), Run()
    with pytest.raises(Asked):
        prune(student, teacher, task, PruneConfig(lr=rate), STUDENT, run)
    assert asked[0][2] == kind
    assert asked[0][4] is run.display, "where it shows how far it is"


def test_a_long_round_stands_where_a_short_one_leaves_the_same_network(
    backbone: Backbone, task: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nettailor.pruning.job.recoverable", lambda *_: -1.0)  # every round falls too far
    monkeypatch.setattr("nettailor.pruning.prune._parts", lambda shrink, careful: [0.5])  # a short one is as long
    choice = PruneConfig(drop=0.0, epochs=1, patience=1, shrink=0.9, lr=1e-6, fade_epochs=0, largest_loss=0)
    teacher = finetune(backbone, task, TEACHER, Run())
    student = tailor(backbone, task, STUDENT, Run())
    result = prune(student, teacher, task, choice, STUDENT, Run())
    assert [trial.undone for trial in result.trials] == [False, False], "the second miss is one too many"
    assert result.trials[0].paths != result.trials[1].paths


def test_a_round_is_judged_by_the_teacher_or_by_the_best_so_far(backbone: Backbone) -> None:
    student = TailoredNet(backbone, 4, Plan())
    start = snapshot(student)
    for least, values, best, misses in (
        (0.90, (0.95, 0.91, 0.89, 0.90, 0.79), 0.90, 1),  # within the drop of the teacher, however good others were
        (0.99, (0.90, 0.85, 0.81, 0.79), 0.81, 0),  # none is: within 0.1 of the most accurate
        (0.99, (0.70, 0.90, 0.78, 0.71, 0.69, 0.68), 0.90, 2),  # 0.1 below that recovery may bring back
        (0.99, (0.30,), 0.60, 1),  # no round's
    ):
        state = Rounds(start, best_value=0.6, peak=0.6)
        for value in values:
            state.record(student, Trial([], 0, 0.0, value, []), least, 0.1 + ROUNDING, 0.1)
        assert state.best_value == best
        assert state.misses == misses


def test_a_budget_is_met_and_not_undercut_by_much(backbone: Backbone, task: Task) -> None:
    teacher = finetune(backbone, task, TEACHER, Run())
    for unit in ("macs", "params"):
        student = tailor(backbone, task, replace(STUDENT, rank=0, batch_norm="source"), Run())
        student.use_cost_model(student.cost_model_in(unit))  # type: ignore[arg-type]
        choice = PruneConfig(how="budget", budget=0.6, epochs=1, shrink=0.8, importance="gate")
        result = prune(student, teacher, task, choice, STUDENT, Run())
        net = compact(student)
        part = getattr(net.cost(), unit) / getattr(backbone.cost, unit)
        assert 0.4 < part <= 0.6
        assert result.graph.paths == net.paths
        prices = [trial.price for trial in result.trials if not trial.undone]
        assert prices == sorted(prices, reverse=True)
        assert accuracy(student, task.val) == result.val_accuracy


def test_a_budget_that_nothing_meets_is_refused(backbone: Backbone, task: Task) -> None:
    teacher = finetune(backbone, task, TEACHER, Run())
    student = tailor(backbone, task, STUDENT, Run())
    with pytest.raises(GraphError, match=r"no network of these paths costs at most .*; the cheapest .* costs"):
        prune(student, teacher, task, PruneConfig(how="budget", budget=0.01, epochs=1), STUDENT, Run())


@pytest.mark.parametrize(("budget", "says"), [(0.01, True), (0.9, False)])
def test_the_cheapest_network_is_said_in_the_budgets_own_words(backbone: Backbone, budget: float, says: bool) -> None:
    student = TailoredNet(backbone, 4, Plan(2))
    model = student.cost_model
    least = cheapest(BlockGraph.of(student)).price()
    config = PruneConfig(how="budget", budget=budget)
    if not says:
        check_budget(student, config)
        return
    with pytest.raises(GraphError) as refused:
        check_budget(student, config)
    assert f"costs at most {budget:g} of the backbone's MACs" in str(refused.value)
    assert str(refused.value).endswith(f"costs {model.in_words(least)}")


@pytest.mark.parametrize("importance", ["gate", "taylor", "measured"])
def test_every_picture_that_is_run_to_choose_a_round_is_counted(
    backbone: Backbone, task: Task, monkeypatch: pytest.MonkeyPatch, importance: str
) -> None:
    """By the forward passes themselves; those of `measured` begin at the layer that an option changes."""
    student = TailoredNet(backbone, len(task.classes), Plan(2))
    config = PruneConfig(importance=importance, measured_on=10, largest_loss=1e-9)  # type: ignore[arg-type]
    job = Job(student, backbone.teacher(4), task, config, STUDENT, Run(), 1.0)
    state, seen = Rounds.fresh(student, task), 0
    run = TailoredNet.run

    def counted(self: TailoredNet, x: torch.Tensor, *known: object) -> object:
        nonlocal seen
        seen += len(x)
        return run(self, x, *known)  # type: ignore[arg-type]

    monkeypatch.setattr(TailoredNet, "run", counted)
    assert pruning._next(job, state, BlockGraph.of(student), None) is not None
    assert seen > 0
    if importance == "measured":
        assert seen <= state.importance_passes * len(task.train) < 1.5 * seen
    else:
        assert state.importance_passes * len(task.train) == pytest.approx(seen)


@pytest.mark.parametrize(
    ("taught", "lr", "reach"),
    [(HARD, 4e-3, RECOVERABLE), (HARD - 0.01, 4e-3, LESS_RECOVERABLE), (HARD, 2e-4, LESS_RECOVERABLE)],
)
def test_a_round_may_fall_as_far_as_recovery_is_expected_to_bring_back(
    backbone: Backbone, task: Task, taught: float, lr: float, reach: float
) -> None:
    student, teacher = TailoredNet(backbone, len(task.classes), Plan(2)), backbone.teacher(4)
    job = Job(student, teacher, task, PruneConfig(lr=lr), STUDENT, Run(), taught)
    assert job.reach(0.0) == reach, "no chance in none right"


def test_a_training_of_one_step_still_cuts_what_it_should(
    backbone: Backbone, task: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nettailor.training.loop.FEWEST_STEPS", 1)
    student = tailor(backbone, task, StudentConfig(batch=48), Run())
    teacher = backbone.teacher(len(task.classes))
    choice = PruneConfig(how="budget", budget=0.6, shrink=0.5, epochs=1, fade_epochs=1)
    result = prune(student, teacher, task, choice, StudentConfig(batch=48), Run())
    assert student.live_paths() == result.graph.paths
    assert result.trials[-1].after_cut == result.val_accuracy == accuracy(student, task.val)


@pytest.mark.parametrize(
    ("remove", "blocks"),
    [((1, 0, 2), [1, 0, 2]), ((0,), [0]), ((1, 2), [1, 2]), ((6,), [0]), ((6, 0), [0]), ((0, 6), [0])],
)
def test_a_users_own_0_is_tried_like_any_number_and_the_way_out_only_where_nothing_else_is(
    digit_folder: Path, remove: tuple[int, ...], blocks: list[int]
) -> None:
    """Six blocks without proxies hold together for no number but 0."""
    backbone = tiny.tiny_backbone()
    task = load_task(str(digit_folder), 16)
    skips = 0 if 6 in remove else 2
    student = tailor(backbone, task, StudentConfig(skips=skips, warm_start=0), Run())
    config = PruneConfig(how="paper", remove=remove, proxies_below=0.0, epochs=1, drop=100)
    pruned = prune(student, backbone.teacher(4), task, config, StudentConfig(skips=skips, batch=48), Run())
    universal = [[key for key in trial.removed if key[0] == "G"] for trial in pruned.trials]
    assert [len(keys) for keys in universal] == blocks
