"""Gates: where they start, what they add up to, and what fading a path does to its neighbours."""

from __future__ import annotations

import pytest
import torch

from blocks.gates import Gates
from blocks.paths import slots


def test_softmax_starts_from_plus_and_minus_two_and_adds_up_to_one() -> None:
    gates = Gates(5, 3, "softmax")
    present = slots(5, 3)
    assert set(gates.logits[:, 0].tolist()) == {2.0}
    assert set(gates.logits[:, 1:][present[:, 1:]].tolist()) == {-2.0}
    assert torch.allclose(gates().sum(1), torch.ones(5))
    assert float(gates()[4, 0].detach()) == pytest.approx(1 / (1 + 3 * torch.exp(torch.tensor(-4.0))))


@pytest.mark.parametrize("kind", ["softmax", "independent"])
def test_no_weight_where_there_is_no_path(kind: str) -> None:
    assert (Gates(5, 3, kind)()[~slots(5, 3)] == 0).all()


def test_a_fading_path_hands_over_smoothly_in_a_softmax() -> None:
    gates = Gates(1, 1, "softmax")
    before = float(gates()[0, 0].detach())
    assert before > 0.98, "however dominant it was"
    for fade in (1.0, 0.5, 0.01, 0.0):
        gates.fade[0, 0] = fade
        assert float(gates()[0, 0].detach()) == pytest.approx(fade * before)
        assert float(gates().sum().detach()) == pytest.approx(1)


def test_those_that_stay_in_a_softmax_share_in_their_own_proportions() -> None:
    gates = Gates(3, 3, "softmax")
    with torch.no_grad():
        gates.logits[2] = torch.tensor([1.0, 2.0, 3.0, 0.0])
    before = gates()[2].detach().clone()
    gates.fade[2, 2] = 0.25
    after = gates()[2].detach()
    assert float(after[2]) == pytest.approx(0.25 * float(before[2]))
    assert torch.allclose(after[[0, 1, 3]] / after[0], before[[0, 1, 3]] / before[0])
    gates.fade[2, 2] = 0
    assert torch.allclose(gates()[2, [0, 1, 3]], torch.tensor([1.0, 2.0, 0.0]).softmax(0))


def test_a_layer_whose_every_path_fades_goes_out_smoothly() -> None:
    gates = Gates(1, 1, "softmax")
    gates.fade[0] = 0.5
    assert float(gates().sum().detach()) == pytest.approx(0.5)


def test_a_fading_path_leaves_its_neighbours_alone_when_gates_are_independent() -> None:
    gates = Gates(3, 2, "independent")
    before = gates()[2, 1:].clone()
    gates.fade[2, 0] = 0.25
    assert torch.equal(gates()[2, 1:], before)
    assert float(gates()[2, 0].detach()) == pytest.approx(0.25 * float(torch.sigmoid(torch.tensor(4.0))))


def test_a_layer_without_paths_has_no_weight_and_a_finite_gradient() -> None:
    gates = Gates(2, 1, "softmax")
    gates.fade[1] = 0
    gates().sum().backward()
    assert (gates()[1] == 0).all()
    assert gates.logits.grad is not None
    assert torch.isfinite(gates.logits.grad).all()
