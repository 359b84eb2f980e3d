"""Settings of the data: each of those that augment does so on its own, and what leaves no pictures is refused."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from pydantic import ValidationError

from nettailor.data.augment import augment, augments
from nettailor.data.config import DataConfig

STILL = DataConfig(shift=0, scale=0, rotate=0, flip=False)


@pytest.mark.parametrize(("setting", "value"), [("shift", 0.2), ("scale", 0.3), ("rotate", 30.0), ("flip", True)])
def test_each_setting_of_augmentation_works_alone(setting: str, value: float) -> None:
    images = torch.rand(8, 3, 8, 8)
    varied = replace(STILL, **{setting: value})
    assert augments(varied)
    assert not augments(STILL)
    assert not torch.allclose(augment(images, varied, torch.Generator().manual_seed(0)), images, atol=1e-3)


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("val_fraction", 1.0),  # nothing would be left to train on
        ("test_fraction", 1.0),
        ("scale", 1.0),  # a picture of no size
        ("train_limit", 0),
        ("rotate", 181.0),
        ("memory_gib", 0.0),
        ("shift", float("nan")),
        ("augment", True),
    ],
)
def test_what_leaves_no_picture_is_refused_by_the_name_of_its_setting(setting: str, value: object) -> None:
    with pytest.raises(ValidationError, match=setting):
        DataConfig(**{setting: value})  # type: ignore[arg-type]
