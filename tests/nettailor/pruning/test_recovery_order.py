"""Recovery: which of the pruned networks are tried, in which order, and which is taken; without any training."""

from __future__ import annotations

import pytest
import torch

from blocks import Backbone
from nettailor.pruning.criterion import Drop
from nettailor.pruning.graph import BlockGraph
from nettailor.pruning.recover import _next_place
from nettailor.pruning.rounds import LESS_RECOVERABLE, RECOVERABLE
from nettailor.pruning.states import snapshot
from nettailor.training.checkpoint import restore
from tests.nettailor.pruning.scripted import Scripted


@pytest.mark.parametrize(
    ("after", "leaner", "stages", "number"),
    [
        ({"recover-2": 0.91, "recover-3": 0.91}, 3, ["recover-2", "recover-3"], 3),
        ({"recover-2": 0.91, "recover-3": 0.89}, 3, ["recover-2", "recover-3"], 2),
        ({"recover-2": 0.91}, 1, ["recover-2"], 2),
        ({"recover-2": 0.89, "recover-1": 0.91}, 3, ["recover-2", "recover-1"], 1),
        ({"recover-2": 0.89, "recover": 0.95}, 1, ["recover-2", "recover"], 0),
        ({"recover": 0.95}, 0, ["recover"], 0),
        ({"recover-2": 0.893, "recover-1": 0.90, "recover": 0.89}, 3, ["recover-2", "recover-1", "recover"], 0),
    ],
)
def test_halves_are_searched_for_the_leanest_within_the_drop(
    backbone: Backbone,
    monkeypatch: pytest.MonkeyPatch,
    after: dict[str, float],
    leaner: int,
    stages: list[str],
    number: int,
) -> None:
    script = Scripted(backbone, (0.895, 0.887, 0.886), monkeypatch)
    script.after = after
    result = script.recover(leaner)
    assert script.stages == stages
    assert result.graph.paths == script.graphs[number].paths == script.student.live_paths()
    assert result.epochs == 4 * len(stages)


@pytest.mark.parametrize(
    ("choice", "after", "leaner", "stages", "blocks_kept"),
    [  # rounds behind the choice are below it, those before it above
        (2, {"recover-3": 0.89, "recover": 0.91}, 3, ["recover-3", "recover"], "G1 G4 G5 G6"),
        (
            2,
            {"recover-3": 0.89, "recover": 0.89, "recover-1": 0.91},
            3,
            ["recover-3", "recover", "recover-1"],
            "G1 G3 G4 G5 G6",
        ),
        (2, {"recover": 0.89, "recover-whole": 0.91}, 0, ["recover", "recover-whole"], "G1 G2 G3 G4 G5 G6"),
        (
            2,
            {"recover-3": 0.895, "recover": 0.89, "recover-1": 0.89, "recover-whole": 0.896},
            3,
            ["recover-3", "recover", "recover-1", "recover-whole"],
            "G1 G2 G3 G4 G5 G6",
        ),
        (
            0,
            {"recover-2": 0.89, "recover": 0.91, "recover-1": 0.91},
            3,
            ["recover-2", "recover", "recover-1"],
            "G1 G3 G4 G5 G6",
        ),
        (
            0,
            {"recover-2": 0.89, "recover": 0.91, "recover-1": 0.89},
            3,
            ["recover-2", "recover", "recover-1"],
            "G1 G2 G3 G4 G5 G6",
        ),
        (1, {"recover-2": 0.89, "recover": 0.91}, 1, ["recover-2", "recover"], "G1 G3 G4 G5 G6"),
        (
            1,
            {"recover-2": 0.89, "recover": 0.89, "recover-whole": 0.91},
            3,
            ["recover-2", "recover", "recover-whole"],
            "G1 G2 G3 G4 G5 G6",
        ),
    ],
)
def test_the_choice_follows_the_first_that_is_refused_then_costlier_ones_and_at_last_all_blocks(
    backbone: Backbone,
    monkeypatch: pytest.MonkeyPatch,
    choice: int,
    after: dict[str, float],
    leaner: int,
    stages: list[str],
    blocks_kept: str,
) -> None:
    script = Scripted(backbone, (0.88, 0.88, 0.87), monkeypatch, choice, whole=0.87)
    script.pruned.val_accuracy = 0.87
    script.after = after
    result = script.recover(leaner)
    assert script.stages == stages
    kept = result.graph.paths
    assert " ".join(path.key for path in kept if path.is_universal) == blocks_kept
    assert all(path.is_universal for path in kept) == (stages[-1] == "recover-whole")
    assert result.taken is not None
    assert result.taken.macs == result.graph.macs()


@pytest.mark.parametrize(
    ("after", "taken"),
    [
        ({"recover-3": 0.9, "recover": 0.9, "recover-1": 0.89}, 0),  # the leaner of equals
        ({"recover-3": 0.899, "recover": 0.89, "recover-1": 0.9}, 2),
        ({"recover-3": 0.899, "recover": 0.9, "recover-1": 0.898}, 1),
    ],
)
def test_what_seems_to_be_within_the_drop_is_taken_before_all_blocks_are(
    backbone: Backbone, monkeypatch: pytest.MonkeyPatch, after: dict[str, float], taken: int
) -> None:
    """0.900 is 0.5 points below the teacher, with a standard error of 0.22: within the drop, and not surely so."""
    script = Scripted(backbone, (0.88, 0.88, 0.88), monkeypatch, choice=2, whole=0.87)
    script.pruned.val_accuracy = 0.88
    script.after = after
    result = script.recover()
    assert script.stages == ["recover-3", "recover", "recover-1"]
    assert not any(attempt.accepted for attempt in result.attempts)
    assert result.taken is result.attempts[taken]
    assert result.graph.paths == script.graphs[(3, 2, 1)[taken]].paths == script.student.live_paths()


@pytest.mark.parametrize(("whole", "all_stay"), [(0.895, True), (0.886, True), (0.885, False), (0.85, False)])
def test_all_blocks_do_not_stay_where_a_leaner_network_is_as_accurate(
    backbone: Backbone, monkeypatch: pytest.MonkeyPatch, whole: float, all_stay: bool
) -> None:
    script = Scripted(backbone, (0.1, 0.92, 0.1), monkeypatch, choice=2, whole=0.5)
    script.pruned.val_accuracy = 0.5
    script.after = {"recover": 0.885, "recover-whole": whole}
    result = script.recover()
    assert script.stages == ["recover", "recover-whole"]
    assert result.taken is result.attempts[1 if all_stay else 0]
    assert result.val_accuracy == (whole if all_stay else 0.885)


@pytest.mark.parametrize(
    ("after", "leaner", "stages", "number"),
    [
        ({"recover-3": 0.91}, 3, ["recover-3"], 3),
        ({"recover-3": 0.89, "recover-2": 0.91}, 3, ["recover-3", "recover-2"], 2),
        ({"recover-3": 0.89, "recover-2": 0.89, "recover": 0.95}, 2, ["recover-3", "recover-2", "recover"], 0),
        ({"recover-3": 0.89, "recover-2": 0.89, "recover-1": 0.91}, 3, ["recover-3", "recover-2", "recover-1"], 1),
        ({"recover-3": 0.89, "recover": 0.91}, 1, ["recover-3", "recover"], 0),
        ({"recover": 0.91}, 0, ["recover"], 0),
        (
            {"recover-3": 0.89, "recover-2": 0.89, "recover": 0.89, "recover-whole": 0.91},
            2,
            ["recover-3", "recover-2", "recover", "recover-whole"],
            None,
        ),
    ],
)
def test_at_a_high_rate_the_leanest_comes_first_and_then_those_above_it(
    backbone: Backbone,
    monkeypatch: pytest.MonkeyPatch,
    after: dict[str, float],
    leaner: int,
    stages: list[str],
    number: int | None,
) -> None:
    script = Scripted(backbone, (0.88, 0.87, 0.86), monkeypatch, whole=0.87)
    script.after = after
    result = script.recover(leaner, lr=4e-3)
    assert script.stages == stages
    if number is not None:
        assert result.graph.paths == script.graphs[number].paths


def test_at_a_high_rate_the_first_that_is_accepted_is_taken() -> None:
    tried = {0: False, 3: True}
    assert _next_place([True] * 6, tried, 5, 3, "up") is None
    assert _next_place([True] * 6, tried, 5, 3, "halves") == 2


@pytest.mark.parametrize(
    ("choice", "after", "stages", "number"),
    [
        (1, {"recover": 0.89, "recover-whole": 0.91}, ["recover", "recover-whole"], None),
        (1, {"recover": 0.91, "recover-2": 0.89}, ["recover", "recover-2"], 1),
        (1, {"recover": 0.91, "recover-2": 0.91, "recover-3": 0.91}, ["recover", "recover-2", "recover-3"], 3),
        (2, {"recover": 0.89, "recover-1": 0.91}, ["recover", "recover-1"], 1),
        (3, {"recover": 0.91}, ["recover"], 3),
    ],
)
def test_on_a_hard_task_the_choice_comes_first_and_leaner_ones_while_they_are_accepted(
    backbone: Backbone,
    monkeypatch: pytest.MonkeyPatch,
    choice: int,
    after: dict[str, float],
    stages: list[str],
    number: int | None,
) -> None:
    monkeypatch.setattr("nettailor.training.passes.HARD", 0.91)  # the teacher is right for 0.905
    script = Scripted(backbone, (0.88, 0.87, 0.86), monkeypatch, choice, whole=0.87)
    script.after = after
    result = script.recover(lr=4e-3)
    assert script.stages == stages
    if number is not None:
        assert result.graph.paths == script.graphs[number].paths


def test_at_a_low_rate_a_hard_task_is_searched_by_halves_too(
    backbone: Backbone, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nettailor.training.passes.HARD", 0.91)
    script = Scripted(backbone, (0.88, 0.87, 0.86), monkeypatch, 1, whole=0.87)
    script.after = {"recover-2": 0.91, "recover-3": 0.91}
    script.recover(lr=1e-4)
    assert script.stages == ["recover-2", "recover-3"]


def test_on_a_hard_task_the_costliest_comes_first_where_all_blocks_are_the_choice() -> None:
    assert _next_place([True, True, True, False, True], {}, 4, 3, "down") == 2
    assert _next_place([True, True, True, False, True], {2: False}, 4, 3, "down") == 4
    assert _next_place([True, True, True, False, True], {2: True}, 4, 3, "down") == 1
    assert _next_place([True, True, True, False, True], {2: True, 1: False}, 4, 3, "down") is None
    assert _next_place([False] * 5, {}, 4, 3, "down") == 4


def test_one_network_above_the_choice_is_tried(backbone: Backbone, monkeypatch: pytest.MonkeyPatch) -> None:
    script = Scripted(backbone, (0.91, 0.92, 0.93), monkeypatch, choice=3, whole=0.87)
    script.after = {"recover": 0.89, "recover-2": 0.89, "recover-whole": 0.91}
    script.recover()
    assert script.stages == ["recover", "recover-2", "recover-whole"], "of rounds 1 and 2 above it the leaner one"


def test_what_is_pruned_to_a_cost_keeps_to_it(backbone: Backbone, monkeypatch: pytest.MonkeyPatch) -> None:
    script = Scripted(backbone, (0.91, 0.92, 0.886), monkeypatch, choice=2)
    script.after = {"recover-3": 0.895, "recover": 0.89}
    result = script.recover()
    assert script.stages == ["recover-3", "recover"]
    assert result.graph.paths == script.graphs[2].paths


@pytest.mark.parametrize("whole", [0.92, None])
def test_all_blocks_that_were_chosen_are_recovered_once(
    backbone: Backbone, monkeypatch: pytest.MonkeyPatch, whole: float | None
) -> None:
    script = Scripted(backbone, (0.89, 0.89, 0.89), monkeypatch, whole=whole)
    script.pruned.val_accuracy = 0.88
    if whole is not None:
        restore(script.student.task_tensors(), script.pruned.whole.tensors, "student")
        script.pruned.graph = BlockGraph.of(script.student)
    script.after = {f"recover-{number}": 0.899 for number in (1, 2, 3)} | {"recover": 0.9}
    result = script.recover()
    assert script.stages.count("recover") == 1
    assert "recover-whole" not in script.stages
    assert result.taken is result.attempts[-1]


@pytest.mark.parametrize(
    ("lr", "hard", "reach"),
    [(1e-4, 0.8, LESS_RECOVERABLE), (4e-3, 0.8, RECOVERABLE), (4e-3, 0.91, LESS_RECOVERABLE)],
)
def test_what_fell_too_far_is_not_tried(
    backbone: Backbone, monkeypatch: pytest.MonkeyPatch, lr: float, hard: float, reach: float
) -> None:
    monkeypatch.setattr("nettailor.training.passes.HARD", hard)  # the teacher is right for 0.905
    low = 0.9 - reach - 0.001
    script = Scripted(backbone, (low, low, 0.2), monkeypatch)
    script.after = {"recover": 0.92}
    script.recover(lr=lr)
    assert script.stages == ["recover"]
    script = Scripted(backbone, (0.9 - reach + 0.001, low, 0.2), monkeypatch)
    script.after = {"recover-1": 0.95}
    assert script.recover(lr=lr).graph.paths == script.graphs[1].paths
    assert script.stages == ["recover-1"]


def test_a_network_that_recovery_does_not_help_stays_as_it_was(
    backbone: Backbone, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = Scripted(backbone, (0.1, 0.1, 0.1), monkeypatch)
    script.after = {"recover": 0.91}  # 0.92 before
    before = snapshot(script.student)
    result = script.recover()
    assert result.val_accuracy == 0.92
    assert all(torch.equal(tensor, before[name]) for name, tensor in script.student.task_tensors().items())
    script.after = {"recover": 0.93}
    assert script.recover().val_accuracy == 0.93
    assert not torch.equal(script.student.gates.logits, before["gates.logits"])


def test_without_epochs_the_choice_stands(backbone: Backbone, monkeypatch: pytest.MonkeyPatch) -> None:
    script = Scripted(backbone, (0.89, 0.885, 0.88), monkeypatch)
    result = script.recover(epochs=0)
    assert (script.stages, result.attempts, result.epochs, result.val_accuracy) == ([], [], 0, 0.92)
    assert result.graph is script.pruned.graph
    script = Scripted(backbone, (0.89, 0.885, 0.88), monkeypatch, whole=0.87)
    assert script.recover(epochs=0).graph is script.pruned.graph, "it is within the drop"
    script.pruned.val_accuracy = 0.88
    assert script.recover(epochs=0).graph is script.pruned.graph, "it is more accurate"
    script.pruned.val_accuracy = 0.86
    result = script.recover(epochs=0)
    assert all(path.is_universal for path in result.graph.paths)
    assert (len(result.graph.paths), result.val_accuracy) == (backbone.depth, 0.87)
    assert script.student.live_paths() == result.graph.paths


@pytest.mark.parametrize(("wrong", "folds"), [(3, 5), (12, 0)])  # of 24 pictures: 12 +- 14 points, and 50 +- 20
def test_folds_are_not_asked_where_validation_shows_that_more_is_lost(
    backbone: Backbone, monkeypatch: pytest.MonkeyPatch, wrong: int, folds: int
) -> None:
    class Judge:
        def drop(self, *given: object) -> tuple[Drop, int]:
            return Drop(0.0, 0.1, 999), 5

    script = Scripted(backbone, (0.1, 0.1, 0.1), monkeypatch)
    script.after = {"recover": 0.93}
    right = [torch.ones(24, dtype=torch.bool), torch.arange(24) >= wrong]
    monkeypatch.setattr("nettailor.pruning.recover.answered_right", lambda net, split: right[net is script.student])
    result = script.recover(judge=Judge())
    assert result.taken is not None
    assert (result.taken.folds, result.taken.accepted) == (folds, folds > 0)
    assert result.taken.pictures == (999 if folds else 24)


def test_what_folds_find_within_the_drop_goes_before_what_validation_likes(
    backbone: Backbone, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Judge:
        def drop(self, answered: object, paths: object, stage: str, *rest: object) -> tuple[Drop, int]:
            return Drop(0.4 if stage == "recover-3" else 2.0, 1.0, 999), 5

    script = Scripted(backbone, (0.88, 0.88, 0.88), monkeypatch, choice=2, whole=0.87)
    script.pruned.val_accuracy = 0.88
    script.after = {"recover-3": 0.895, "recover": 0.9, "recover-1": 0.9}
    result = script.recover(judge=Judge())
    assert script.stages == ["recover-3", "recover", "recover-1"]
    assert result.taken is result.attempts[0]


def test_folds_are_not_asked_about_the_last_that_there_is(backbone: Backbone, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    class Judge:
        def drop(self, answered: object, paths: object, stage: str, *rest: object) -> tuple[Drop, int]:
            asked.append(stage)
            return Drop(5.0, 1.0, 999), 4

    script = Scripted(backbone, (0.5, 0.5, 0.5), monkeypatch, choice=1, whole=0.90)
    script.after = {"recover": 0.90, "recover-whole": 0.90}
    result = script.recover(judge=Judge())
    assert script.stages == ["recover", "recover-whole"]
    assert asked == ["recover"]
    assert [attempt.folds for attempt in result.attempts] == [4, 0]
