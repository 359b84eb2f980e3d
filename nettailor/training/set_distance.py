"""How far two sets of pictures are apart for a frozen backbone, from what its classifier reads of them (N, d).

    pictures of both -> frozen backbone -> h, h' -> proxy-A distance: can a linear classifier tell them apart?
                                                 -> MMD²: do they have the same distribution?

Nothing of the target's labels is read.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
import torch
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor

FOLDS = 5  # every vector is held out of one of them
STRENGTH = 0.1  # inverse weight of the classifier's penalty, on standardised features
MOST_ITERATIONS = 500
FEWEST = 2 * FOLDS  # vectors of each set
EXACT = "donot_use_mm_for_euclid_dist"  # products of far vectors would round their distances away


@dataclass(frozen=True)
class SetDistance:
    """Two distances between two sets.

    Attributes:
        proxy_a: 2 (1 - 2 error), clipped to 0..2 (Ben-David et al., 2007).
        error: of a logistic classifier of the sets on vectors that it was not fitted to, the mean over both sets.
        mmd2: the unbiased estimate of MMD² (Gretton et al., 2012), which may be a little below 0 for equal sets.
        bandwidth: of its kernel exp(-|x - y|² / (2 bandwidth²)).
    """

    proxy_a: float
    error: float
    mmd2: float
    bandwidth: float


def set_distance(one: Tensor, other: Tensor, seed: int = 0) -> SetDistance:
    """Distances of two sets of vectors (N, d) and (M, d).

    Args:
        seed: of the folds.

    Raises:
        ValueError: a set has fewer than `FEWEST` vectors.
    """
    error = domain_error(one, other, seed)
    value, bandwidth = unbiased_mmd2(one, other)
    return SetDistance(proxy_a_distance(error), error, value, bandwidth)


def proxy_a_distance(error: float) -> float:
    """`2 (1 - 2 error)`, clipped to 0..2: a classifier that does worse than guessing tells nothing apart."""
    return min(2.0, max(0.0, 2 * (1 - 2 * error)))


def domain_error(one: Tensor, other: Tensor, seed: int = 0) -> float:
    """The held-out error of a logistic classifier that tells two sets apart, over `FOLDS` folds; the mean over both sets.

    Raises:
        ValueError: a set has fewer than `FEWEST` vectors.
    """
    if min(len(one), len(other)) < FEWEST:
        raise ValueError(
            f"{min(len(one), len(other))} vectors are too few for {FOLDS} folds; at least {FEWEST} are needed"
        )
    features = torch.cat([one, other]).double().numpy()
    labels = np.repeat([0, 1], [len(one), len(other)])
    wrong = np.zeros(len(labels), dtype=bool)
    for fitted, held_out in StratifiedKFold(FOLDS, shuffle=True, random_state=seed).split(features, labels):
        classifier = LogisticRegression(C=STRENGTH, max_iter=MOST_ITERATIONS, class_weight="balanced")
        model = make_pipeline(StandardScaler(), classifier)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # what is nearly fitted tells them apart as well
            model.fit(features[fitted], labels[fitted])
        wrong[held_out] = model.predict(features[held_out]) != labels[held_out]
    return float((wrong[labels == 0].mean() + wrong[labels == 1].mean()) / 2)


def unbiased_mmd2(one: Tensor, other: Tensor, bandwidth: float | None = None) -> tuple[float, float]:
    """The unbiased estimate of MMD² with the kernel `exp(-|x - y|² / (2 bandwidth²))`, and the bandwidth.

        1/(n(n-1)) Σ_(i≠j) k(x_i, x_j)  +  1/(m(m-1)) Σ_(i≠j) k(y_i, y_j)  -  2/(nm) Σ_(i,j) k(x_i, y_j)

    Args:
        one, other: (n, d) and (m, d), at least two vectors each.
        bandwidth: if left out, the median distance of all pairs of both sets together; 1 where that is 0.
    """
    x, y = one.double(), other.double()
    xx, yy, xy = (torch.cdist(a, b, compute_mode=EXACT).square() for a, b in ((x, x), (y, y), (x, y)))
    if bandwidth is None:
        rows, columns = (torch.triu_indices(len(z), len(z), 1) for z in (x, y))
        pairs = torch.cat([xx[rows[0], rows[1]], yy[columns[0], columns[1]], xy.flatten()])
        bandwidth = float(pairs.sqrt().median()) or 1.0
    kxx, kyy, kxy = (torch.exp(-square / (2 * bandwidth**2)) for square in (xx, yy, xy))
    n, m = len(x), len(y)
    within = (kxx.sum() - n) / (n * (n - 1)) + (kyy.sum() - m) / (m * (m - 1))  # k(x, x) is 1
    return float(within - 2 * kxy.mean()), bandwidth
