"""Augmentation: what it changes, and what it leaves."""

from __future__ import annotations

import torch

from nettailor.data.augment import augment
from nettailor.data.config import DataConfig


def test_pictures_are_mirrored_only_where_that_is_wanted() -> None:
    images = torch.rand(64, 3, 8, 8)
    still = DataConfig(shift=0, scale=0, rotate=0, flip=False)
    assert augment(images, still, torch.Generator()) is images
    flipped = augment(images, DataConfig(shift=0, scale=0, rotate=0, flip=True), torch.Generator().manual_seed(0))
    mirrored = [torch.allclose(a, b.flip(2), atol=1e-4) for a, b in zip(flipped, images, strict=True)]
    same = [torch.allclose(a, b, atol=1e-4) for a, b in zip(flipped, images, strict=True)]
    assert 16 < sum(mirrored) < 48
    assert [a or b for a, b in zip(mirrored, same, strict=True)] == [True] * 64
