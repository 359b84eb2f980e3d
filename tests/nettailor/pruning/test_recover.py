"""Recovery: of networks that are trained; test_recovery_order.py has those that are scripted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from blocks import Backbone, Plan, TailoredNet
from nettailor.data.task import Task
from nettailor.pruning.config import PruneConfig
from nettailor.pruning.criterion import Drop, answered_right
from nettailor.pruning.graph import BlockGraph
from nettailor.pruning.prune import Pruned, prune
from nettailor.pruning.recover import Recovered, _Job, _leaner, recover_leanest
from nettailor.pruning.rounds import Trial
from nettailor.pruning.states import snapshot
from nettailor.training.checkpoint import Checkpoints, restore
from nettailor.training.config import RecoverConfig, StudentConfig, TeacherConfig
from nettailor.training.finetuning import finetune
from nettailor.training.loop import accuracy
from nettailor.training.run import Fitted, Run
from nettailor.training.stages import tailor, train
from tests.nettailor.conftest import STUDENT


def test_the_leanest_that_recovery_brings_within_the_drop_is_taken(
    backbone: Backbone, task: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nettailor.pruning.rounds.RECOVERABLE", 1.0)  # a net this small falls far
    teacher = finetune(backbone, task, TeacherConfig(epochs=15, batch=16, start="fresh", lr=2e-3), Run())
    student = tailor(backbone, task, STUDENT, Run(), teacher)
    train(student, teacher, task, StudentConfig(epochs=15, batch=8), Run())
    choice = PruneConfig(drop=0.0, epochs=1, shrink=0.5, lr=1e-6, fade_epochs=0, front=True)
    pruned = prune(student, teacher, task, choice, STUDENT, Run())
    start = snapshot(student)
    for allowed in (100.0, 5.0):  # all are within, some may be
        for count in (0, 1, 4):
            restore(student.task_tensors(), start, "student")
            after = RecoverConfig(epochs=1, leaner=count)
            result = recover_leanest(student, teacher, task, pruned, after, allowed, STUDENT, Run())
            assert len(result.attempts) <= count + 1
            assert all(attempt.after >= attempt.before for attempt in result.attempts)
            accepted = [attempt for attempt in result.attempts if attempt.accepted]
            assert accepted, "of these one always is"
            taken = min(accepted, key=lambda attempt: attempt.macs)
            assert result.graph.macs() == taken.macs
            assert result.val_accuracy == taken.after == accuracy(student, task.val)
            assert student.live_paths() == result.graph.paths
            assert result.epochs == len(result.attempts)


@pytest.mark.slow
def test_where_none_is_accepted_it_goes_on_in_the_middle_and_ends_with_the_same_bits(
    backbone: Backbone, task: Task, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nettailor.pruning.rounds.RECOVERABLE", 1.0)
    for judgement in ("is_within", "seems_within"):
        monkeypatch.setattr(Drop, judgement, lambda self, allowed: False)
    attempt = _Job.attempt

    def whole_run(folder: Path, most: int = 99) -> tuple[list[str], Recovered, dict[str, torch.Tensor]]:
        stages: list[str] = []

        def counted(self: _Job, candidate: Any) -> Any:
            if len(stages) == most:
                raise KeyboardInterrupt
            stages.append(candidate.stage)
            return attempt(self, candidate)

        run = Run(checkpoints=Checkpoints(folder))
        teacher = finetune(backbone, task, TeacherConfig(epochs=1, batch=16, start="fresh", lr=2e-3), run)
        student = tailor(backbone, task, STUDENT, run, teacher)
        train(student, teacher, task, StudentConfig(epochs=1, batch=8), run)
        choice = PruneConfig(drop=100.0, epochs=1, shrink=0.5, lr=1e-3, fade_epochs=0, front=True)
        pruned = prune(student, teacher, task, choice, STUDENT, run)
        monkeypatch.setattr(_Job, "attempt", counted)
        after = RecoverConfig(epochs=1, leaner=1)
        result = recover_leanest(student, teacher, task, pruned, after, 0.5, STUDENT, run)
        return stages, result, snapshot(student)

    stages, result, tensors = whole_run(tmp_path / "whole")
    assert stages == ["recover", "recover-1", "recover-whole"]
    for most in (1, 2):
        with pytest.raises(KeyboardInterrupt):
            whole_run(tmp_path / f"stopped-{most}", most)
        again = whole_run(tmp_path / f"stopped-{most}")
        assert (again[0], again[1].attempts, again[1].taken) == (stages, result.attempts, result.taken)
        assert all(torch.equal(tensor, again[2][name]) for name, tensor in tensors.items())


def test_a_network_of_an_undone_round_is_one_of_those_that_may_be_recovered(backbone: Backbone) -> None:
    graph = BlockGraph.of(TailoredNet(backbone, 4, Plan()))
    price = graph.price()
    trials = [
        Trial([], 0, 0.4 * price, 0.5, [], epochs=2, undone=True),
        Trial([], 0, 0.8 * price, 0.7, [], epochs=3),
        Trial([], 0, 0.6 * price, 0.6, [], from_blocks=True),
    ]
    found = _leaner(Pruned(graph, 0.0, 0.0, trials, steps=[{}, {}, {}]))
    assert [candidate.stage for candidate in found] == ["recover-1", "recover-3", "recover-2"]
    assert [candidate.price / price for candidate in found] == pytest.approx([0.4, 0.6, 0.8])
    assert [candidate.from_blocks for candidate in found] == [False, True, False]


@pytest.mark.parametrize(("points", "accepted"), [(0.0, True), (9.0, False)])
@pytest.mark.parametrize(("from_blocks", "epochs"), [(False, 5 + 2), (True, 2)])
def test_a_judge_decides_and_knows_how_long_a_network_was_trained(
    backbone: Backbone, task: Task, points: float, accepted: bool, from_blocks: bool, epochs: int
) -> None:
    """The student's passes and recovery's, not the rounds'; one that was cut out of the blocks has had recovery alone."""
    teacher = finetune(backbone, task, TeacherConfig(epochs=1, batch=16, start="fresh", lr=2e-3), Run())
    student = tailor(backbone, task, STUDENT, Run(), teacher)
    run = Run(fitted={"student": Fitted({}, 0.0, epochs=5)})
    graph = BlockGraph.of(student)
    keys = [path.key for path in graph.paths]
    trials = [Trial(keys, graph.macs(), graph.price(), 1.0, [], epochs=3, from_blocks=from_blocks)]
    asked: list[tuple[object, ...]] = []
    answered: list[Tensor] = []

    class Judge:
        def drop(self, right: tuple[Tensor, Tensor], paths: list[object], *given: Any) -> tuple[Drop, int]:
            answered.extend(right)
            asked.append((len(paths), *given))
            return Drop(points, 0.1, 999), 4

    pruned = Pruned(graph, 0.0, 0.0, trials, steps=[snapshot(student)])  # so that recovery helps
    after = RecoverConfig(epochs=2)
    result = recover_leanest(student, teacher, task, pruned, after, 0.5, STUDENT, run, Judge())  # type: ignore[arg-type]
    by_teacher, by_student = (answered_right(net, task.val) for net in (teacher, student))
    assert torch.equal(answered[0], by_teacher)
    assert torch.equal(answered[1], by_student), "of the network as it is recovered"
    assert asked == [(len(graph.paths), "recover", epochs, 0.5, from_blocks)]
    assert result.taken is not None
    assert (result.taken.accepted, result.taken.judged, result.taken.folds) == (accepted, Drop(points, 0.1, 999), 4)
