"""Least squares, and the affine map that a 1x1 convolution and a batch norm are."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from blocks.least_squares import LinearEnd, positions, ridge


def end_of(channels: int = 3, outputs: int = 4) -> LinearEnd:
    torch.manual_seed(0)
    norm = nn.BatchNorm2d(outputs)
    nn.init.uniform_(norm.weight, 0.5, 2.0)
    nn.init.normal_(norm.bias)
    norm.running_mean = torch.randn(outputs)
    norm.running_var = torch.rand(outputs) + 0.5
    found = LinearEnd.of(nn.Sequential(nn.ReLU(), nn.Conv2d(channels, outputs, 1, bias=False), norm).eval())
    assert found is not None
    return found


@torch.no_grad()
def test_what_is_read_is_what_is_computed() -> None:
    end, x = end_of(), torch.randn(2, 3, 5, 4)
    matrix, constant = end.read()
    assert [type(step) for step in end.before] == [nn.ReLU]
    wanted = positions(end.norm(end.convolution(x)), 1)
    assert torch.allclose(positions(x, 1) @ matrix.T + constant, wanted, atol=1e-5)


@torch.no_grad()
def test_what_is_written_is_computed_in_eval_and_in_train_mode() -> None:
    end, x = end_of(), torch.randn(8, 3, 5, 4) * 3 + 1
    norms = end.convolution.weight.flatten(1).norm(dim=1).clone()
    rows, matrix, given = positions(x, 1), torch.randn(4, 3, dtype=torch.double), torch.randn(4, dtype=torch.double)
    mean = rows.mean(0)
    covariance = (rows - mean).T @ (rows - mean) / len(rows)
    variance = end.write(matrix, mean, covariance, given)
    wanted = (rows - mean) @ matrix.T + given
    assert torch.allclose(positions(end.norm(end.convolution(x)), 1), wanted, atol=1e-4)
    assert torch.allclose(variance, wanted.var(0, unbiased=False))
    assert torch.allclose(end.convolution.weight.flatten(1).norm(dim=1), norms)
    end.norm.train()
    assert torch.allclose(positions(end.norm(end.convolution(x)), 1), wanted, atol=1e-3)


def test_a_ridge_is_least_squares_with_a_small_penalty_and_finite_where_nothing_varies() -> None:
    torch.manual_seed(0)
    a, b = torch.randn(500, 6, dtype=torch.double), torch.randn(500, 2, dtype=torch.double)
    found, best = ridge(a.T @ a / 500, a.T @ b / 500), torch.linalg.lstsq(a, b).solution.T
    assert torch.allclose(found, best, rtol=0.01, atol=1e-3)
    assert found.norm() < best.norm()
    nothing = ridge(torch.zeros(3, 3, dtype=torch.double), torch.zeros(3, 2, dtype=torch.double))
    assert torch.equal(nothing, torch.zeros(2, 3, dtype=torch.double))


@pytest.mark.parametrize("module", [nn.Identity(), nn.Sequential(nn.BatchNorm2d(3)), nn.Conv2d(3, 3, 1)])
def test_other_modules_do_not_end_so(module: nn.Module) -> None:
    assert LinearEnd.of(module) is None
