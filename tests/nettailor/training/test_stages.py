"""Trainings: what they change, how they go on after an interruption, and that they learn."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from blocks import Backbone, Plan, TailoredNet, compact
from blocks import Path as GraphPath
from nettailor.data.batches import evaluation_batches, normalise
from nettailor.data.config import DataConfig
from nettailor.data.task import Task, load_task
from nettailor.errors import TrainingError
from nettailor.pruning.config import PruneConfig
from nettailor.pruning.fade import Fade
from nettailor.pruning.graph import BlockGraph, GraphError
from nettailor.pruning.prune import ROUNDING, Trial, _Rounds, prune, snapshot, weak_proxies, weakest_blocks
from nettailor.pruning.recover import recover_leanest
from nettailor.training.checkpoint import Checkpoints, restore
from nettailor.training.config import RecoverConfig, StudentConfig, TeacherConfig
from nettailor.training.loop import Run, Schedule, accuracy
from nettailor.training.stages import TeacherTargets, finetune, recover, tailor, train
from tests import tiny

TEACHER = TeacherConfig(epochs=3, batch=16)
STUDENT = StudentConfig(epochs=3, batch=16)


@pytest.fixture
def task(digit_folder: Path) -> Task:
    return load_task(str(digit_folder), 16)


def test_a_teacher_answers_once_where_pictures_are_not_varied(backbone: Backbone, task: Task) -> None:
    still = DataConfig(shift=0, scale=0, rotate=0)
    teacher = finetune(backbone, task, TEACHER, Run(augmentation=still))
    tensors = []
    for memory in (2.0, 1e-9):
        run = Run(augmentation=replace(still, memory_gib=memory))
        answers = TeacherTargets(teacher, task.train, run)
        assert (answers.known(torch.tensor([3, 1])) is None) == (memory < 1)
        student = tailor(backbone, task, STUDENT, run)
        train(student, teacher, task, STUDENT, run)
        tensors.append(student.task_tensors())
    assert all(torch.allclose(tensors[0][name], tensors[1][name], atol=1e-3) for name in tensors[0])
    known = TeacherTargets(teacher, task.train, Run(augmentation=still)).known(torch.tensor([3, 1]))
    assert known is not None
    x = normalise(task.train.batch(torch.tensor([3, 1])), backbone.spec, torch.device("cpu"))
    for ours, theirs in zip(known, teacher.activations(x), strict=True):
        assert torch.allclose(ours, theirs, atol=1e-4)
    assert TeacherTargets(teacher, task.train, Run()).known(torch.tensor([0])) is None, (
        "augmented pictures are new ones"
    )


class Stopped(Exception):
    pass


def stop_after(epochs: int) -> object:
    """A scalar sink that ends the run like a kill would: in the middle, without any clean-up."""
    seen: set[tuple[str, int]] = set()

    def scalars(tag: str, value: float, step: int) -> None:
        seen.add((tag.split("/")[0], step))
        if len(seen) > epochs:
            raise Stopped

    return scalars


def everything(backbone: Backbone, task: Task, run: Run) -> tuple[dict[str, torch.Tensor], list[GraphPath], float]:
    teacher = finetune(backbone, task, TEACHER, run)
    student = tailor(backbone, task, STUDENT, run)
    train(student, teacher, task, STUDENT, run)
    choice = PruneConfig(epochs=2, drop=100, patience=0, shrink=0.75)
    pruned = prune(student, teacher, task, choice, STUDENT, run)
    recover(student, teacher, task, RecoverConfig(epochs=2), STUDENT, run)
    value = accuracy(student, task.test)
    return {n: t.clone() for n, t in student.task_tensors().items()}, pruned.graph.paths, value


@pytest.mark.parametrize("kills", [[1], [4, 2, 3], [1] * 12])
def test_a_run_that_is_stopped_again_and_again_ends_like_one_that_is_not(
    backbone: Backbone, task: Task, tmp_path: Path, kills: list[int]
) -> None:
    expected, paths, value = everything(backbone, task, Run())
    for epochs in kills:
        run = Run(checkpoints=Checkpoints(tmp_path), scalars=stop_after(epochs))  # type: ignore[arg-type]
        with pytest.raises(Stopped):
            everything(backbone, task, run)
    found, kept, again = everything(backbone, task, Run(checkpoints=Checkpoints(tmp_path)))
    assert kept == paths
    assert again == value
    assert all(torch.equal(found[name], tensor) for name, tensor in expected.items())


def test_the_backbone_is_the_same_after_a_whole_run(backbone: Backbone, task: Task) -> None:
    before = {name: t.clone() for name, t in backbone.state_dict().items()}
    everything(backbone, task, Run())
    assert all(torch.equal(t, before[name]) for name, t in backbone.state_dict().items())


def test_seeds_decide_and_nothing_else(backbone: Backbone, task: Task) -> None:
    one, same, other = (finetune(backbone, task, TEACHER, Run(seed=seed)) for seed in (0, 0, 1))
    x = torch.randn(4, 3, 16, 16)
    assert torch.equal(one(x), same(x))
    assert not torch.equal(one(x), other(x))


def test_a_teacher_learns(backbone: Backbone, task: Task) -> None:
    run = Run()
    teacher = finetune(backbone, task, TeacherConfig(epochs=15, batch=16), run)
    assert accuracy(teacher, task.train) > 0.7
    assert run.fitted["teacher"].seconds > 0


def test_g1_lowers_expected_complexity(backbone: Backbone, task: Task) -> None:
    teacher = finetune(backbone, task, TEACHER, Run())
    values = []
    for weight in (0.0, 20.0):
        choice = StudentConfig(epochs=6, batch=4, complexity_weight=weight, gate_lr=0.05)
        student = tailor(backbone, task, choice, Run())
        values.append(train(student, teacher, task, choice, Run()).metrics["expected_complexity"])
    assert values[1] < values[0] - 0.1


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
    teacher = finetune(backbone, task, TeacherConfig(epochs=15, batch=16), Run())
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


def test_rounds_go_on_below_the_drop_as_long_as_there_is_patience(backbone: Backbone, task: Task) -> None:
    teacher = finetune(backbone, task, TeacherConfig(epochs=15, batch=16), Run())
    ends = []
    for patience, front in ((0, False), (1, False), (0, True)):
        student = tailor(backbone, task, STUDENT, Run())
        train(student, teacher, task, StudentConfig(epochs=15, batch=8), Run())
        choice = PruneConfig(drop=0.0, epochs=1, patience=patience, shrink=0.5, lr=1e-6, fade_epochs=0, front=front)
        result = prune(student, teacher, task, choice, STUDENT, Run())
        ends.append(len(result.trials))
        prices = [trial.price for trial in result.trials]
        assert prices == sorted(prices, reverse=True)
        assert len(result.steps) == len(result.trials)
        assert accuracy(student, task.val) == result.val_accuracy
    assert ends[0] <= ends[1] <= ends[2]
    assert ends[0] < ends[2]


def test_a_round_is_judged_by_the_teacher_or_by_the_best_so_far(backbone: Backbone) -> None:
    student = TailoredNet(backbone, 4, Plan())
    start = snapshot(student)
    for least, values, best in (
        (0.90, (0.95, 0.91, 0.89, 0.90, 0.80), 0.90),  # within the drop of the teacher, however good others were
        (0.99, (0.90, 0.85, 0.81, 0.79), 0.81),  # none is: within 0.1 of the most accurate
        (0.99, (0.70, 0.90, 0.78), 0.90),
        (0.99, (0.30,), 0.60),  # the unpruned student itself
    ):
        state = _Rounds(start, best_value=0.6, peak=0.6)
        for value in values:
            state.record(student, Trial([], 0, 0.0, value, []), least, 0.1 + ROUNDING)
        assert state.best_value == best
        assert state.misses == len(values) - 1 - (values.index(best) if best in values else -1)


def test_the_leanest_that_recovery_brings_within_the_drop_is_taken(
    backbone: Backbone, task: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nettailor.pruning.recover.NEAR", 1.0)  # a net this small falls far
    teacher = finetune(backbone, task, TeacherConfig(epochs=15, batch=16), Run())
    student = tailor(backbone, task, STUDENT, Run())
    train(student, teacher, task, StudentConfig(epochs=15, batch=8), Run())
    choice = PruneConfig(drop=0.0, epochs=1, shrink=0.5, lr=1e-6, fade_epochs=0, front=True)
    pruned = prune(student, teacher, task, choice, STUDENT, Run())
    assert [trial for trial in pruned.trials if trial.price < pruned.graph.price()]
    start = snapshot(student)
    leanest = min(trial.macs for trial in pruned.trials)
    for least in (0.0, pruned.least, 2.0):  # all are within, some, none
        pruned.least = least
        for count in (0, 1, 4):
            restore(student.task_tensors(), start, "student")
            after = RecoverConfig(epochs=1, leaner=count)
            result = recover_leanest(student, teacher, task, pruned, after, 30.0, STUDENT, Run())
            assert len(result.attempts) <= count + 1
            assert all(attempt.after >= attempt.before for attempt in result.attempts)
            within = [attempt for attempt in result.attempts if attempt.after >= least]
            best = max(attempt.after for attempt in result.attempts)
            if within:
                expected = min(within, key=lambda attempt: attempt.macs)
            else:
                near = [attempt for attempt in result.attempts if attempt.after >= best - 0.3 - 1e-6]
                expected = min(near, key=lambda attempt: attempt.macs)
                assert result.attempts[-1].macs == pruned.graph.macs(), "the choice itself is tried before giving up"
            if count == 4 and least == 0.0:
                assert expected.macs == leanest, "halves end at the last one"
            assert result.graph.macs() == expected.macs
            assert result.val_accuracy == expected.after == accuracy(student, task.val)
            assert student.live_paths() == result.graph.paths
            assert result.epochs == len(result.attempts)


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
        prices = [trial.price for trial in result.trials]
        assert prices == sorted(prices, reverse=True)
        assert accuracy(student, task.val) == result.val_accuracy


def test_a_budget_that_nothing_meets_is_refused(backbone: Backbone, task: Task) -> None:
    teacher = finetune(backbone, task, TEACHER, Run())
    student = tailor(backbone, task, STUDENT, Run())
    with pytest.raises(GraphError, match=r"no network of these paths costs at most .*; the cheapest .* costs"):
        prune(student, teacher, task, PruneConfig(how="budget", budget=0.01, epochs=1), STUDENT, Run())


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


def test_a_training_of_one_step_still_cuts_what_it_should(backbone: Backbone, task: Task) -> None:
    student = tailor(backbone, task, StudentConfig(batch=48), Run())
    teacher = backbone.teacher(len(task.classes))
    choice = PruneConfig(how="budget", budget=0.6, shrink=0.5, epochs=1, fade_epochs=1)
    result = prune(student, teacher, task, choice, StudentConfig(batch=48), Run())
    assert student.live_paths() == result.graph.paths
    assert result.trials[-1].after_cut == result.val_accuracy == accuracy(student, task.val)


def test_the_schedule_warms_up_and_goes_down_to_zero() -> None:
    factors = [Schedule(10, 4).factor(step, 100) for step in range(100)]
    assert factors.index(max(factors)) in (9, 10)
    assert factors[:10] == sorted(factors[:10])
    assert factors[10:] == sorted(factors[10:], reverse=True)
    assert factors[-1] < 0.01


def test_bfloat16_autocast_trains_too(digit_folder: Path) -> None:
    backbone, task = tiny.tiny_backbone(32), load_task(str(digit_folder), 32)
    run = Run(precision="bfloat16")
    teacher = finetune(backbone, task, TEACHER, run)
    student = tailor(backbone, task, STUDENT, run)
    before = student.gates.logits.detach().clone()
    train(student, teacher, task, STUDENT, run)
    assert all(torch.isfinite(t).all() for t in student.task_tensors().values())
    assert not torch.equal(before, student.gates.logits)


def test_a_training_that_diverges_says_so_and_keeps_its_last_checkpoint(
    backbone: Backbone, task: Task, tmp_path: Path
) -> None:
    run = Run(checkpoints=Checkpoints(tmp_path))
    finetune(backbone, task, TEACHER, run)
    student, teacher = tailor(backbone, task, STUDENT, run), backbone.teacher(4)
    with torch.no_grad():
        student.gates.logits[0, 0] = torch.nan
    with pytest.raises(TrainingError, match="student: the gradient is not finite in epoch 1; lower its learning rate"):
        train(student, teacher, task, STUDENT, run)
    assert [path.name for path in tmp_path.iterdir()] == ["teacher.safetensors"]


def test_a_warm_start_looks_at_no_picture_alone(
    backbone: Backbone, task: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    """48 training pictures of 16 px, whose last activations are 1x1: a batch of one would have no variance there."""
    monkeypatch.setattr("nettailor.training.stages.WARM_BATCH", 47)
    monkeypatch.setattr("blocks.memory.ACTIVATIONS_AT_ONCE", 2**40)
    student = tailor(backbone, task, StudentConfig(warm_start=48), Run())
    assert all(torch.isfinite(tensor).all() for tensor in student.task_tensors().values())


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU on this machine")
def test_a_whole_run_on_a_gpu(backbone: Backbone, task: Task) -> None:
    run = Run(device=torch.device("cuda"))
    _, paths, value = everything(backbone.to("cuda"), task, run)
    assert paths
    assert 0 <= value <= 1
