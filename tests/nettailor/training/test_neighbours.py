"""k nearest neighbours by the cosine, against scikit-learn's and by hand."""

from __future__ import annotations

import pytest
import torch
from sklearn.neighbors import NearestNeighbors

from nettailor.training.neighbours import neighbour_accuracy


def vectors(*degrees: float) -> torch.Tensor:
    angles = torch.deg2rad(torch.tensor(degrees))
    return torch.stack([angles.cos(), angles.sin()], 1)


def test_the_majority_of_the_nearest_by_scikit_learn() -> None:
    generator = torch.Generator().manual_seed(0)
    gallery, queries = torch.randn(90, 6, generator=generator), torch.randn(40, 6, generator=generator)
    labels, wanted = torch.arange(90) % 3, torch.arange(40) % 3
    near = NearestNeighbors(n_neighbors=5, metric="cosine").fit(gallery.numpy()).kneighbors(queries.numpy())[1]
    counts = torch.stack([torch.bincount(labels[torch.from_numpy(row)], minlength=3) for row in near])
    top = counts.max(1)
    clear = (counts == top.values[:, None]).sum(1) == 1
    assert clear.sum() > 20
    right = int((top.indices == wanted)[clear].sum())
    found = neighbour_accuracy(gallery, labels, queries[clear], wanted[clear])
    assert found == pytest.approx(right / int(clear.sum()))


def test_length_does_not_count_and_queries_need_no_common_batch() -> None:
    gallery, labels = vectors(0, 10, 90, 100), torch.tensor([0, 0, 1, 1])
    queries = torch.cat([vectors(5) * 100, vectors(95) * 0.01]).repeat(600, 1)
    wanted = torch.tensor([0, 1]).repeat(600)
    assert neighbour_accuracy(gallery, labels, queries, wanted, 2) == 1.0


def test_of_as_many_votes_the_nearer_class_wins_and_a_vote_more_beats_any_nearness() -> None:
    labels = torch.tensor([0, 1, 1])
    assert neighbour_accuracy(vectors(1, 30, 31), labels, vectors(0), torch.tensor([0]), 2) == 1.0
    assert neighbour_accuracy(vectors(1, 30, 31), 1 - labels, vectors(0), torch.tensor([1]), 2) == 1.0, "of any number"
    assert neighbour_accuracy(vectors(1, 30, 31), labels, vectors(0), torch.tensor([1]), 3) == 1.0


def test_a_small_gallery_votes_as_a_whole() -> None:
    assert neighbour_accuracy(vectors(0, 5, 90), torch.tensor([1, 1, 0]), vectors(80), torch.tensor([1]), 5) == 1.0
