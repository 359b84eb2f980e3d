"""Where a gradual pruning stands: what counts as the best, what is undone, and that it is all in the checkpoints."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from blocks import Backbone, Plan, TailoredNet
from nettailor.data.task import Task
from nettailor.errors import FileError
from nettailor.pruning.graph import BlockGraph
from nettailor.pruning.rounds import LESS_RECOVERABLE, RECOVERABLE, Rounds, Trial, recoverable
from nettailor.pruning.states import snapshot
from nettailor.training.checkpoint import Checkpoints
from nettailor.training.loop import accuracy
from nettailor.training.passes import HARD
from nettailor.training.run import Run


@pytest.fixture
def student(backbone: Backbone) -> TailoredNet:
    return TailoredNet(backbone, 4, Plan(1))


def without(student: TailoredNet, *keys: str) -> BlockGraph:
    graph = BlockGraph.of(student)
    left = graph.without([path for path in graph.paths if path.key in keys])
    student.keep(left.paths)
    return left


def trial(left: BlockGraph, value: float, price: float | None = None) -> Trial:
    return Trial([path.key for path in left.paths], left.macs(), left.price() if price is None else price, value, [])


def live(tensors: dict[str, torch.Tensor]) -> int:
    return int((tensors["gates.fade"] > 0).sum())


def test_the_first_best_is_the_student_without_proxies(student: TailoredNet, task: Task) -> None:
    paths = student.live_paths()
    state = Rounds.fresh(student, task)
    assert student.live_paths() == paths, "it is left as it was"
    assert live(state.best) == student.depth
    assert state.peak == max(accuracy(student, task.val), state.best_value)


def test_the_best_is_the_leanest_within_the_drop_and_costs_no_more_than_all_blocks(
    student: TailoredNet, task: Task
) -> None:
    state = Rounds.fresh(student, task)
    state.best_value, state.peak = 0.5, 0.9
    state.record(student, trial(without(student, "A0-1"), 0.9, price=student.cost_model.blocks + 1), 0.85, 0.05)
    assert state.best_value == 0.5, "it costs more than the teacher"
    state.record(student, trial(without(student, "G2"), 0.86), 0.85, 0.05)
    state.record(student, trial(without(student, "G3"), 0.84), 0.85, 0.05)
    assert (state.best_value, state.misses, state.at) == (0.86, 0, 3), "recovery may bring the third back"
    state.record(student, trial(without(student, "G4"), 0.85 - RECOVERABLE - 0.01), 0.85, 0.05)
    assert (state.best_value, state.misses) == (0.86, 1)
    assert live(state.best) == live(state.steps[1])


def test_where_no_round_is_near_the_teacher_the_drop_is_from_the_best_so_far(student: TailoredNet, task: Task) -> None:
    state = Rounds.fresh(student, task)
    state.best_value, state.peak = 0.5, 0.6
    state.record(student, trial(without(student, "G2"), 0.56), least=0.95, allowed=0.05)
    assert (state.best_value, state.misses) == (0.56, 0)


def test_an_undone_round_leaves_the_student_where_it_began_and_can_be_taken_up_again(
    student: TailoredNet, task: Task
) -> None:
    start = snapshot(student)
    state = Rounds.fresh(student, task)
    left = without(student, "G2", "G3")
    state.record(student, trial(left, 0.1), 0.9, 0.0)
    assert not state.was_undone(left)
    state.undo(student, 0, start)
    assert live(snapshot(student)) == live(start)
    assert state.careful
    assert state.was_undone(left)
    assert not state.was_undone(BlockGraph.of(student))
    state.redo(student)
    assert live(snapshot(student)) == len(left.paths)
    assert (state.at, state.misses, state.trials[0].undone) == (1, 1, False)


@pytest.mark.parametrize("undone", [False, True])
def test_a_killed_pruning_goes_on_with_the_same_state(
    student: TailoredNet, backbone: Backbone, task: Task, tmp_path: Path, undone: bool
) -> None:
    run, start = Run(checkpoints=Checkpoints(tmp_path)), snapshot(student)
    state = Rounds.fresh(student, task)
    state.importance_passes = 1.5
    state.record(student, trial(without(student, "G2"), 0.9), 0.0, 0.0)
    state.save(student, run, 1)
    state.record(student, trial(without(student, "G3"), 0.3), 0.0, 0.0)
    if undone:
        state.undo(student, 1, start)
    state.save(student, run, 2)
    other = TailoredNet(backbone, 4, Plan(1))
    again, _ = Rounds.resume(other, task, run)
    assert other.live_paths() == student.live_paths()
    assert vars(again).keys() == vars(state).keys()
    for name, value in vars(state).items():
        if name not in ("best", "steps"):
            assert getattr(again, name) == value, name
    assert all(torch.equal(tensor, state.best[name]) for name, tensor in again.best.items())
    (tmp_path / "step-1.safetensors").unlink()
    with pytest.raises(FileError, match="step-1.safetensors"):
        Rounds.resume(other, task, run)


def test_recovery_is_expected_to_bring_less_at_a_low_rate_and_few_pictures_may_show_too_little() -> None:
    assert recoverable(0.8, 10_000, keeps_features=True, taught=0.9) == LESS_RECOVERABLE
    assert recoverable(0.8, 10_000, keeps_features=False, taught=0.9) == RECOVERABLE > LESS_RECOVERABLE
    assert recoverable(0.5, 25, keeps_features=False, taught=0.9) == pytest.approx(3 * 0.1)
    assert recoverable(0.5, 25, keeps_features=True, taught=0.9) == pytest.approx(3 * 0.1)


def test_recovery_is_expected_to_bring_less_on_a_hard_task() -> None:
    assert recoverable(0.6, 10_000, keeps_features=False, taught=HARD - 0.001) == LESS_RECOVERABLE
    assert recoverable(0.6, 10_000, keeps_features=False, taught=HARD) == RECOVERABLE
