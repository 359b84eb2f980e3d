"""What is tried and recovered, in which order: networks of blocks first, rounds below them where these are good enough."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from blocks import Backbone, TailoredNet
from nettailor.data.task import Task
from nettailor.pruning import recover as recovery
from nettailor.pruning import search as module
from nettailor.pruning.config import PruneConfig
from nettailor.pruning.criterion import Drop
from nettailor.pruning.prune import Pruned, prune
from nettailor.pruning.recover import Recovered, recover_leanest
from nettailor.pruning.search import prune_and_recover
from nettailor.pruning.states import Begun, snapshot
from nettailor.training import passes
from nettailor.training.checkpoint import restore
from nettailor.training.config import RecoverConfig
from nettailor.training.run import Run
from tests.nettailor.pruning.test_from_blocks import CONFIG, Taught, taught
from tests.nettailor.pruning.test_widths import SETTINGS, inverted

__all__ = ["inverted"]
AFTER = RecoverConfig(epochs=1, leaner=4)


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passes, "SLOW_ROUND", passes.UsualPasses(1, 1))


class Seen:
    """What a search calls: rounds, with the student they begin with, and recoveries, with the student they are given."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, accepts: Any) -> None:
        self.below: list[float] = []
        self.began: list[dict[str, torch.Tensor]] = []
        self.given: list[dict[str, torch.Tensor]] = []
        self.recovered: list[str] = []
        self.calls: list[tuple[Pruned, Recovered | None, Recovered]] = []
        recover, accepted = recovery.recover, Drop.is_within

        def rounds(*given: Any) -> Pruned:
            self.below += given[6:]
            self.began.append(snapshot(given[0]))
            return prune(*given)

        def recovering(*given: Any) -> Any:
            self.recovered.append(given[-1])
            return recover(*given)

        def leanest(*given: Any) -> Recovered:
            self.given.append(snapshot(given[0]))
            result = recover_leanest(*given)
            self.calls.append((given[3], given[-1], result))
            return result

        def is_within(drop: Drop, allowed: float) -> bool:
            return accepted(drop, allowed) if accepts is None else accepts(self.recovered[-1])

        monkeypatch.setattr(module, "prune", rounds)
        monkeypatch.setattr(recovery, "recover", recovering)
        monkeypatch.setattr(module, "recover_leanest", leanest)
        monkeypatch.setattr(Drop, "is_within", is_within)


class Training:
    """Of a student that is trained already: it is put back to how it began, and this brings back what training made of it."""

    def __init__(self, student: TailoredNet, start: Begun) -> None:
        self._student, self._start, self._trained = student, start, snapshot(student)
        self.times = 0
        start.put_into(student)

    def __call__(self) -> None:
        self.times += 1
        own = self._student.task_tensors()
        assert all(torch.equal(tensor, own[name]) for name, tensor in self._start.tensors.items()), "as it began"
        restore(own, self._trained, "student")


def search(given: Taught, task: Task, run: Run, config: PruneConfig = CONFIG) -> tuple[Pruned, Recovered]:
    student, teacher, start = given
    train = Training(student, start)
    found = prune_and_recover(student, start, train, teacher, task, config, AFTER, SETTINGS, run)
    assert train.times == any(not trial.from_blocks for trial in found[0].trials), (
        "once where something is cut out of it"
    )
    return found


def test_rounds_go_on_below_the_leanest_of_them_where_it_is_within_the_drop(
    inverted: Backbone, task: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Run()
    given = taught(inverted, task, run)
    trained = snapshot(given[0])
    seen = Seen(monkeypatch, lambda stage: True)
    pruned, recovered = search(given, task, run)
    first = [trial for trial in pruned.trials if trial.from_blocks]
    after = pruned.trials[len(first) :]
    assert len(first) == 3
    assert after
    assert not any(trial.from_blocks for trial in after)
    assert seen.below == [min(trial.price for trial in first)]
    assert max(trial.price for trial in after) < seen.below[0]
    assert all(torch.equal(tensor, trained[name]) for name, tensor in seen.began[0].items()), "of the trained student"
    assert len(pruned.steps) == len(pruned.trials)
    assert len(seen.recovered) == len(set(seen.recovered)) == len(recovered.attempts), "none is recovered twice"
    once_given, again_given = seen.given
    assert all(torch.equal(tensor, again_given[name]) for name, tensor in once_given.items()), "the same choice"
    (_, none, once), (_, before, twice) = seen.calls
    assert none is None
    assert before is once
    assert twice is recovered
    assert recovered.attempts[: len(once.attempts)] == once.attempts
    assert recovered.graph.price() == min(trial.price for trial in pruned.trials)
    assert recovered.epochs == len(recovered.attempts)
    assert set(run.seconds.totals) >= {"prune", "recover"}


def test_what_rounds_pass_is_not_taken_where_it_is_not_within_the_drop(
    inverted: Backbone, task: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The fourth network is the first of a round."""
    run = Run()
    seen = Seen(monkeypatch, lambda stage: stage in ("recover", "recover-1", "recover-2", "recover-3"))
    pruned, recovered = search(taught(inverted, task, run), task, run)
    assert [stage for stage in seen.recovered if stage[-1] in "456789"], "one was tried"
    first = [trial for trial in pruned.trials if trial.from_blocks]
    assert recovered.graph.price() == min(trial.price for trial in first)
    assert recovered.taken is not None
    assert recovered.taken.accepted


@pytest.mark.parametrize(("front", "goes_on"), [(False, False), (True, True)])
def test_none_go_on_where_the_leanest_is_not_but_for_a_front(
    inverted: Backbone, task: Task, monkeypatch: pytest.MonkeyPatch, front: bool, goes_on: bool
) -> None:
    run = Run()
    seen = Seen(monkeypatch, lambda stage: stage == "recover-1")
    pruned, recovered = search(taught(inverted, task, run), task, run, replace(CONFIG, front=front))
    assert bool(seen.below) is goes_on
    assert len(seen.calls) == (2 if goes_on else 1)
    assert any(not trial.from_blocks for trial in pruned.trials) is goes_on
    assert len(seen.recovered) == len(set(seen.recovered)) == len(recovered.attempts)
    assert recovered.attempts == seen.calls[0][2].attempts, "what is leaner than one that was refused is not tried"


def test_none_go_on_where_they_ended_because_they_fell_too_far(
    inverted: Backbone, task: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    blocks = module.prune_blocks
    monkeypatch.setattr(module, "prune_blocks", lambda *given: (blocks(*given)[0], False))  # type: ignore[index]
    run = Run()
    seen = Seen(monkeypatch, lambda stage: True)
    pruned, _ = search(taught(inverted, task, run), task, run)
    assert not seen.below
    assert all(trial.from_blocks for trial in pruned.trials)


def test_elsewhere_there_are_rounds_alone(inverted: Backbone, task: Task, monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run()
    given = taught(inverted, task, run)
    monkeypatch.setattr(module, "prune_blocks", lambda *_: None)
    pruned, recovered = search(given, task, run)
    assert pruned.trials
    assert not any(trial.from_blocks for trial in pruned.trials)
    assert recovered.attempts


def test_nor_are_networks_cut_out_of_the_blocks_where_nothing_is_recovered(inverted: Backbone, task: Task) -> None:
    run = Run()
    student, teacher, start = taught(inverted, task, run)
    none = RecoverConfig(epochs=0)
    train = Training(student, start)
    pruned, recovered = prune_and_recover(student, start, train, teacher, task, CONFIG, none, SETTINGS, run)
    assert train.times == 1
    assert pruned.trials
    assert not any(trial.from_blocks for trial in pruned.trials)
    assert not recovered.attempts
