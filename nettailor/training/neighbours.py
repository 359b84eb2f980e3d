"""General discrimination of a network's features: how well they tell classes apart that nothing was trained on.

h of the gallery, h of the queries -> cosine -> the k nearest of the gallery vote -> accuracy
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from sklearn.neighbors import KNeighborsClassifier
from torch import Tensor

BETWEEN_VOTES = 4.0  # more than two sums of k similarities, divided by k, can differ


def neighbour_accuracy(gallery: Tensor, labels: Tensor, queries: Tensor, wanted: Tensor, neighbours: int = 5) -> float:
    """Part of the queries whose class is the one that most of their nearest neighbours have.

    Of classes with as many votes the one wins whose neighbours are nearer, by their summed similarities.

    Args:
        gallery: (N, d), of classes `labels` (N,).
        queries: (M, d), of classes `wanted` (M,).
        neighbours: that vote; all of the gallery where it has fewer.
    """
    near = min(neighbours, len(gallery))

    def votes(distances: NDArray[np.floating]) -> NDArray[np.floating]:
        return BETWEEN_VOTES + (1 - distances) / near

    model = KNeighborsClassifier(near, metric="cosine", algorithm="brute", weights=votes)
    return float(model.fit(gallery.float().numpy(), labels.numpy()).score(queries.float().numpy(), wanted.numpy()))
