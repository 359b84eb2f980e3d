"""What a board's runs can show: paired differences with intervals, claims per run, rank correlation over tasks.

Pure functions of figures; `board.py` reads the figures, `_board_page.py` writes them down.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import permutations
from statistics import mean, stdev

import numpy as np
from scipy.stats import rankdata, t

CONFIDENCE = 0.95
NO_SPREAD = 1e-12
ENUMERATED = 8  # so many values have 40,320 orders; more are sampled
SAMPLED_ORDERS = 20_000


@dataclass(frozen=True)
class Difference:
    """A mean over paired runs with its 95 % interval.

    Attributes:
        low, high: of the paired t interval, n - 1 degrees of freedom; None where it can't be estimated, which is with a
            single pair, or where all pairs differ by the same amount.
    """

    mean: float
    n: int
    low: float | None = None
    high: float | None = None

    @property
    def shown(self) -> bool:
        """Whether there is an interval and it does not contain zero."""
        return self.low is not None and self.high is not None and not self.low <= 0 <= self.high


def paired_difference(ours: Sequence[float], others: Sequence[float]) -> Difference:
    """Ours minus the others', run by run on the same seeds."""
    differences = [one - other for one, other in zip(ours, others, strict=True)]
    n, middle = len(differences), mean(differences)
    if n < 2 or (spread := stdev(differences)) < NO_SPREAD:
        return Difference(middle, n)
    half = float(t.ppf((1 + CONFIDENCE) / 2, n - 1)) * spread / math.sqrt(n)
    return Difference(middle, n, middle - half, middle + half)


@dataclass(frozen=True)
class Claim:
    """Whether a figure keeps to a bound: by its mean, and run by run.

    Attributes:
        missed: place in the list, and figure, of every run that does not.
    """

    mean: float
    holds: bool
    n: int
    missed: list[tuple[int, float]]


def claim_at_most(values: Sequence[float], bound: float) -> Claim:
    """Every value, and their mean, is at most the bound; rounding of sums aside."""
    missed = [(index, value) for index, value in enumerate(values) if value > bound + NO_SPREAD]
    return Claim(mean(values), mean(values) <= bound + NO_SPREAD, len(values), missed)


@dataclass(frozen=True)
class RankCorrelation:
    """Spearman's rank correlation with its permutation p-values.

    Attributes:
        p: two-sided: part of all orders whose correlation is at least as far from 0.
        p_less: one-sided: part of all orders whose correlation is at most this.
        least_p: the smallest two-sided p that so many values can have without ties.
    """

    rho: float
    n: int
    p: float
    p_less: float
    least_p: float


def rank_correlation(xs: Sequence[float], ys: Sequence[float]) -> RankCorrelation | None:
    """Over all orders of up to 8 values, over 20,000 drawn ones and the observed one of more.

    None where it is not defined: a single value, or all equal.
    """
    n = len(xs)
    if n < 2 or len(set(xs)) < 2 or len(set(ys)) < 2:
        return None
    ranks, others = _standard(rankdata(xs)), _standard(rankdata(ys))
    rho = float(ranks @ others)
    if n <= ENUMERATED:
        orders = np.array(list(permutations(range(n))))
    else:
        generator = np.random.default_rng(0)
        drawn = [generator.permutation(n) for _ in range(SAMPLED_ORDERS)]
        orders = np.array([np.arange(n), *drawn])
    found = others[orders] @ ranks
    p = float(np.mean(np.abs(found) >= abs(rho) - 1e-9))
    return RankCorrelation(rho, n, p, float(np.mean(found <= rho + 1e-9)), 2 / math.factorial(n))


def _standard(ranks: np.ndarray) -> np.ndarray:
    centred = ranks - ranks.mean()
    return np.asarray(centred / np.linalg.norm(centred))
