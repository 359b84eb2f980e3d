"""The L2 norm with a factor per channel."""

from __future__ import annotations

import pytest
import torch

from blocks.scaled_norm import SMALLEST, ScaledNorm
from nettailor.training.loop import parameter_groups


@pytest.mark.parametrize("scale", [10.0, 20.0])
def test_every_vector_has_the_length_of_the_scale_at_the_start(scale: float) -> None:
    v = torch.tensor([[3.0, 4.0, 0.0], [1e-3, 0.0, 0.0], [0.0, -2e4, 1e4]])
    lengths = ScaledNorm(3, scale)(v).norm(dim=1)
    assert torch.allclose(lengths, torch.full((3,), scale))


def test_a_vector_of_zeros_stays_and_a_tiny_one_does_not_blow_up() -> None:
    norm = ScaledNorm(3)
    v = torch.zeros(1, 3, requires_grad=True)
    out = norm(v)
    assert torch.equal(out, torch.zeros(1, 3))
    out.sum().backward()
    assert torch.isfinite(v.grad).all()  # type: ignore[arg-type]
    tiny = torch.tensor([[SMALLEST / 2, 0.0, 0.0]])
    assert torch.allclose(norm(tiny), torch.tensor([[5.0, 0.0, 0.0]]))


def test_one_factor_per_channel_that_has_no_weight_decay() -> None:
    norm = ScaledNorm(2)
    with torch.no_grad():
        norm.gamma.copy_(torch.tensor([1.0, 5.0]))
    assert torch.allclose(norm(torch.tensor([[3.0, 4.0]])), torch.tensor([[0.6, 4.0]]))
    (group,) = parameter_groups(list(norm.parameters()), 1.0, 0.1)
    assert group["weight_decay"] == 0.0
