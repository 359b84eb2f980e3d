"""General discrimination of a network's features: how well they tell classes apart that nothing was trained on.

h of the gallery, h of the queries -> cosine -> the k nearest of the gallery vote -> accuracy
"""

from __future__ import annotations

from torch import Tensor
from torch.nn.functional import normalize, one_hot

AT_ONCE = 1024  # queries
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
    known, right = normalize(gallery.float(), dim=1), 0
    votes_of = one_hot(labels).float()
    for part, answers in zip(queries.split(AT_ONCE), wanted.split(AT_ONCE), strict=True):
        similar, rows = (normalize(part.float(), dim=1) @ known.T).topk(near, 1)
        votes = votes_of[rows]
        score = votes.sum(1) * BETWEEN_VOTES + (votes * similar[:, :, None]).sum(1) / near
        right += int((score.argmax(1) == answers).sum())
    return right / len(queries)
