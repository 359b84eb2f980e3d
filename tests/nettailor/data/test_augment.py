"""Augmentation: what it changes, and what it leaves."""

from __future__ import annotations

import pytest
import torch

from nettailor.data.augment import augment, augmentations, augments, crops
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


@pytest.mark.parametrize(
    ("config", "names", "varies"),
    [
        (DataConfig(), (), True),
        (DataConfig(augment="none"), (), False),
        (DataConfig(augment="photo"), ("random_resized_crop", "flip", "colour_jitter"), True),
        (DataConfig(augment="photo", colour_jitter=0), ("random_resized_crop", "flip"), True),
        (
            DataConfig(augment="photo", rand_augment=9, random_erasing=0.2),
            ("random_resized_crop", "flip", "rand_augment", "colour_jitter", "random_erasing"),
            True,
        ),
        (DataConfig(augment=("affine",)), ("affine",), True),
        (DataConfig(augment=("affine",), shift=0, scale=0, rotate=0), ("affine",), False),
    ],
)
def test_what_is_applied_follows_from_the_config(config: DataConfig, names: tuple[str, ...], varies: bool) -> None:
    images = torch.rand(4, 3, 8, 8)
    assert augmentations(config) == names
    assert augments(config) == varies
    assert crops(config) == ("random_resized_crop" in names)
    if config.augment != "sign":
        assert augment(images, config, torch.Generator()) is images, "pictures were augmented one by one, or not at all"
