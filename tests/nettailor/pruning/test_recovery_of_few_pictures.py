"""What recovery goes by where few pictures judge: how near answers are to the teacher's, beside how many are right."""

from __future__ import annotations

import pytest
import torch

from blocks import Backbone, TailoredNet
from nettailor.pruning.criterion import NEAR, NEARER, Drop
from nettailor.pruning.graph import BlockGraph
from nettailor.pruning.rounds import LESS_RECOVERABLE
from tests.nettailor.pruning.scripted import Scripted


def test_few_pictures_may_show_a_network_lower_than_it_is(backbone: Backbone, monkeypatch: pytest.MonkeyPatch) -> None:
    for pictures, stages in ((140, ["recover-1", "recover-2"]), (1000, ["recover"])):
        script = Scripted(backbone, (0.9 - LESS_RECOVERABLE - 0.001, 0.9 - LESS_RECOVERABLE - 0.001, 0.2), monkeypatch)
        script.after, script.nearer = {"recover-2": 0.88, "recover-1": 0.95, "recover": 0.95}, True
        script.recover(pictures=pictures)
        assert script.stages == stages


@pytest.mark.parametrize("judged", [False, True])
def test_where_pictures_are_too_few_answers_have_to_be_near_the_teachers(
    backbone: Backbone, monkeypatch: pytest.MonkeyPatch, judged: bool
) -> None:
    """A network that gets as many right is refused, and folds are not asked; of 1,000 pictures no one looks."""
    asked: list[str] = []

    class Judge:
        def drop(self, answered: object, paths: object, stage: str, *rest: object) -> tuple[Drop, int]:
            asked.append(stage)
            return Drop(0.0, 0.1, 999), 2

    for pictures, far, accepted in ((140, NEAR * 0.5 + 1e-6, False), (140, NEAR * 0.5, True), (1000, 9.0, True)):
        script = Scripted(backbone, (0.1, 0.1, 0.1), monkeypatch, whole=0.9)
        script.after = {"recover": 0.95, "recover-whole": 0.95}
        monkeypatch.setattr("nettailor.pruning.recover.divergence", lambda *_, far=far: far)
        asked.clear()
        result = script.recover(judge=Judge() if judged else None, pictures=pictures)
        first = result.attempts[0]
        assert (first.accepted, first.is_near) == (accepted, accepted)
        assert first.nats == (far if pictures == 140 else None)
        assert asked == (["recover"] if judged and accepted else [])
        assert script.stages == (["recover"] if accepted else ["recover", "recover-whole"])
        assert result.taken is result.attempts[-1], "all blocks stay where it is too far"


@pytest.mark.parametrize("pictures", [140, 1000])
@pytest.mark.parametrize(
    ("far", "stages"),
    [
        ({}, ["recover-2", "recover"]),
        ({2: 1.0}, ["recover-1", "recover"]),
        ({1: 1.0, 2: 1.0}, ["recover-3", "recover"]),
        ({1: 1.0, 2: 1.0, 3: 1.0}, ["recover"]),
        ({0: 1.0}, ["recover-2", "recover-whole"]),
        ({0: 1.0, 1: 1.0, 2: 1.0, 3: 1.0}, ["recover-whole"]),
    ],
)
def test_what_is_far_from_the_teacher_before_recovery_is_passed_over_where_pictures_are_too_few(
    backbone: Backbone, monkeypatch: pytest.MonkeyPatch, pictures: int, far: dict[int, float], stages: list[str]
) -> None:
    """Networks are named by the round that passed them, the choice 0; recovery brings none within the drop but the last."""
    script = Scripted(backbone, (0.9, 0.9, 0.9), monkeypatch, whole=0.9)
    script.after = {"recover-1": 0.8, "recover-2": 0.8, "recover-3": 0.8, "recover": 0.8, "recover-whole": 0.95}
    script.after[stages[-1]] = 0.95
    places = {graph.price(): place for place, graph in enumerate(script.graphs)}

    def divergence(net: TailoredNet, *_: object) -> float:
        is_cut = torch.equal(net.gates.logits, script._fresh)
        return far.get(places.get(BlockGraph.of(net).price(), 9), NEARER * NEAR * 0.5) if is_cut else NEAR * 0.5

    monkeypatch.setattr("nettailor.pruning.recover.divergence", divergence)
    script.recover(leaner=1, pictures=pictures)
    if pictures == 140:
        assert script.stages == stages
    else:
        assert script.stages[:2] == ["recover-2", "recover"], "the count of right answers alone decides"


@pytest.mark.parametrize(
    ("after", "nearer", "stands"),
    [(0.918, True, True), (0.80, True, False), (0.918, False, False), (0.92, True, True), (0.92, False, False)],
)
def test_a_picture_or_two_less_is_no_loss_where_answers_are_nearer_to_the_teachers(
    backbone: Backbone, monkeypatch: pytest.MonkeyPatch, after: float, nearer: bool, stands: bool
) -> None:
    """Of 1,000 pictures 2 fewer are right, or 120, which is no chance any more, or as many; 0.92 before.

    Folds train their networks no longer than the one that they judge.
    """
    trained: list[object] = []

    class Judge:
        def drop(self, answered: object, paths: object, stage: str, passes: int, *rest: object) -> tuple[Drop, int]:
            trained.append(passes)
            return Drop(0.0, 0.1, 999), 4

    script = Scripted(backbone, (0.1, 0.1, 0.1), monkeypatch)
    script.after, script.at_first, script.nearer = {"recover": after}, 0.92, nearer
    result = script.recover(judge=Judge())
    assert result.val_accuracy == (after if stands else 0.92)
    assert torch.equal(script.student.gates.logits, script._fresh) != stands
    assert trained == [4 if stands else 0]
    assert result.epochs == 4, "it took them"
