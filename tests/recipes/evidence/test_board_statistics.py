"""Intervals and rank correlations against what scipy and pencil and paper give."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from recipes.evidence._board_statistics import claim_at_most, paired_difference, rank_correlation


def test_a_paired_interval_is_scipys() -> None:
    ours, others = [71.0, 74.0, 69.5, 70.2], [70.1, 71.5, 69.9, 68.0]
    found = paired_difference(ours, others)
    interval = stats.ttest_rel(ours, others).confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high))
    assert found.mean == pytest.approx(np.mean(ours) - np.mean(others))
    assert not found.shown


def test_what_is_shown() -> None:
    assert paired_difference([3.0, 3.1, 2.9], [1.0, 1.0, 1.0]).shown
    assert paired_difference([1.0, 1.0, 1.0], [3.0, 3.1, 2.9]).shown, "a loss can be shown, too"
    assert not paired_difference([9.0], [1.0]).shown, "a single pair has no interval"
    same = paired_difference([1.5, 2.5], [1.0, 2.0])
    assert same.low is None
    assert not same.shown, "two equal differences say nothing of their spread"
    with pytest.raises(ValueError, match="shorter"):
        paired_difference([1.0, 2.0], [1.0])


def test_a_bound_lists_the_runs_that_miss_it() -> None:
    claim = claim_at_most([0.1, 0.7, 0.1], 0.5)
    assert claim.holds
    assert claim.missed == [(1, 0.7)]
    assert not claim_at_most([0.1, 0.95], 0.5).holds
    assert claim_at_most([0.1 + 0.2], 0.3).holds, "rounding of a sum is no miss"


def test_rank_correlation_of_four_has_its_exact_p() -> None:
    found = rank_correlation([4, 3, 2, 1], [1, 3, 2, 4])
    assert found is not None
    assert found.rho == pytest.approx(-0.8)
    assert found.p == pytest.approx(8 / 24)
    assert found.p_less == pytest.approx(4 / 24)
    perfect = rank_correlation([1, 2, 3, 4], [10, 20, 30, 40])
    assert perfect is not None
    assert perfect.p == pytest.approx(perfect.least_p) == pytest.approx(2 / 24)


def test_rank_correlation_agrees_with_scipy_with_ties_and_without() -> None:
    xs, ys = [1.0, 2.0, 2.0, 4.0, 5.0, 7.0], [2.0, 1.0, 3.0, 3.0, 6.0, 5.0]
    found = rank_correlation(xs, ys)
    assert found is not None
    assert found.rho == pytest.approx(stats.spearmanr(xs, ys).statistic)
    generator = np.random.default_rng(3)
    many, others = generator.normal(size=12).tolist(), generator.normal(size=12).tolist()
    sampled = rank_correlation(many, others)
    assert sampled is not None
    assert sampled.p == pytest.approx(stats.spearmanr(many, others).pvalue, abs=0.02)


def test_rank_correlation_of_equal_values_is_none() -> None:
    assert rank_correlation([1.0, 1.0], [1.0, 2.0]) is None
    assert rank_correlation([1.0], [2.0]) is None
