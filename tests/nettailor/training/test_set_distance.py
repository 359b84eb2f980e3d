"""Distances of two sets: nothing for equal ones, the most for those that a line parts, and no bias."""

from __future__ import annotations

import pytest
import torch

from nettailor.training.set_distance import (
    domain_error,
    proxy_a_distance,
    set_distance,
    unbiased_mmd2,
)


def normal(count: int, mean: float = 0.0, seed: int = 0, size: int = 4) -> torch.Tensor:
    return torch.randn(count, size, generator=torch.Generator().manual_seed(seed)) + mean


def test_proxy_a_is_between_0_and_2() -> None:
    assert [proxy_a_distance(error) for error in (0.0, 0.25, 0.5, 0.6, 1.0)] == [2.0, 1.0, 0.0, 0.0, 0.0]


def test_proxy_a_of_equal_and_of_separable_sets() -> None:
    assert set_distance(normal(300), normal(300, 20, 1)).proxy_a == 2.0
    same = set_distance(normal(1000), normal(1000, seed=1))
    assert same.error == pytest.approx(0.5, abs=0.05)
    assert same.proxy_a < 0.15
    twice = normal(200)
    assert domain_error(twice, twice.clone()) >= 0.5, "the same vectors on both sides can't be told apart"
    assert domain_error(normal(300), normal(300, 20, 1), seed=3) == 0.0


def test_the_domain_error_is_near_the_best_possible_and_counts_both_sets_alike() -> None:
    # two normals whose means are 2 apart along the diagonal of 4 dimensions: the best error is Φ(-1)
    best = 0.1587
    assert domain_error(normal(2000), normal(2000, 1.0, 1)) == pytest.approx(best, abs=0.02)
    assert domain_error(normal(2000), normal(200, 1.0, 1)) == pytest.approx(best, abs=0.05)


def test_too_few_vectors_are_refused() -> None:
    with pytest.raises(ValueError, match="9 vectors are too few for 5 folds; at least 10"):
        domain_error(normal(9), normal(50))


def test_mmd_is_its_formula() -> None:
    x, y = torch.tensor([[0.0], [1.0]]), torch.tensor([[2.0], [4.0], [6.0]])
    k = lambda a, b: float(torch.exp(torch.tensor(-((a - b) ** 2) / (2 * 1.5**2))))  # noqa: E731
    within = k(0, 1) + (k(2, 4) + k(2, 6) + k(4, 6)) / 3
    cross = sum(k(a, b) for a in (0.0, 1.0) for b in (2.0, 4.0, 6.0)) / 6
    assert unbiased_mmd2(x, y, bandwidth=1.5)[0] == pytest.approx(within - 2 * cross)
    assert unbiased_mmd2(x, y)[1] == 2.0, "the median of 1; 2, 2, 4; 2, 4, 6, 1, 3, 5 is one of its numbers"
    assert unbiased_mmd2(torch.zeros(3, 2), torch.zeros(4, 2)) == (0.0, 1.0)


def test_mmd_has_no_bias() -> None:
    found = torch.tensor(
        [unbiased_mmd2(normal(20, seed=2 * n), normal(20, seed=2 * n + 1), 2.0)[0] for n in range(300)]
    )
    error = float(found.std() / len(found) ** 0.5)
    assert abs(float(found.mean())) < 3 * error
    assert float(found.min()) < 0, "an estimate without bias has to be below 0 at times"
    assert unbiased_mmd2(normal(500), normal(500, seed=1))[0] == pytest.approx(0, abs=0.005)


def test_mmd_of_normals_is_the_closed_form() -> None:
    # k of width s over N(0, I) and N(m, I) in d dimensions: 2 (s²/(s²+2))^(d/2) (1 - exp(-|m|²/(2(s²+2))))
    s, d, shift = 2.0, 4, 1.0
    closed = 2 * (s**2 / (s**2 + 2)) ** (d / 2) * (1 - torch.exp(torch.tensor(-d * shift**2 / (2 * (s**2 + 2)))))
    found = unbiased_mmd2(normal(1500), normal(1500, shift, 1), s)[0]
    assert found == pytest.approx(float(closed), rel=0.1)
    assert unbiased_mmd2(normal(300), normal(300, 20, 1))[0] > unbiased_mmd2(normal(300), normal(300, 1, 1))[0] > 0


def test_where_both_sets_are_does_not_count() -> None:
    x, y = normal(50).double(), normal(60, 1, 1).double()
    near, far = unbiased_mmd2(x, y), unbiased_mmd2(x + 1e7, y + 1e7)
    assert far == pytest.approx(near, rel=1e-5)
