"""Each augmentation of a picture acts on its own, keeps shape and type, and is decided by key and row alone."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from blocks import InputSpec
from nettailor.data.config import AUGMENTATIONS, DataConfig
from nettailor.data.images import square
from nettailor.data.transforms import PictureTransform, seeded_by

SPEC = InputSpec(24, (0.2, 0.4, 0.6), (0.5,) * 3, "bicubic", 0.8)
STRENGTH = {"rand_augment": 15, "colour_jitter": 0.4, "random_erasing": 1.0}
RAMP = np.linspace(0, 255, 40 * 60).reshape(40, 60)
PICTURE = Image.fromarray(np.stack([RAMP, RAMP[::-1], RAMP[:, ::-1]], -1).astype(np.uint8))


def views(config: DataConfig, count: int = 32, picture: Image.Image = PICTURE) -> list[Tensor]:
    transform = PictureTransform(config, SPEC)
    found = []
    for row in range(count):
        with seeded_by(5, row):
            found.append(transform(picture))
    return found


def alone(name: str) -> DataConfig:
    return DataConfig(augment=(name,), **{k: v for k, v in STRENGTH.items() if k == name})  # type: ignore[arg-type]


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_each_works_alone_and_is_repeated_by_its_key_and_row(name: str) -> None:
    found = views(alone(name))
    assert all(view.shape == (3, 24, 24) and view.dtype == torch.uint8 for view in found)
    assert all(torch.equal(a, b) for a, b in zip(found, views(alone(name)), strict=True))
    plain = square(PICTURE, 24, "bicubic", 0.8)
    changed = sum(not torch.equal(view, plain) for view in found)
    assert (8 < changed < 24) if name == "flip" else changed > 24
    assert len({view.numpy().tobytes() for view in found}) >= 2


def test_what_does_not_crop_shows_the_square_of_evaluation() -> None:
    plain = square(PICTURE, 24, "bicubic", 0.8)
    for view in views(alone("flip")):
        assert torch.equal(view, plain) or torch.equal(view, plain.flip(2))
    twice = Image.fromarray(plain.permute(1, 2, 0).numpy())  # a square that is in memory is not resized again
    assert {v.numpy().tobytes() for v in views(alone("flip"))} == {
        v.numpy().tobytes() for v in views(alone("flip"), picture=twice)
    }


def test_a_crop_comes_from_the_whole_picture_and_shows_as_much_of_it_as_is_set() -> None:
    wide = Image.new("RGB", (120, 40), "black")
    wide.paste("red", (0, 0, 30, 40))  # the square of evaluation sees neither end
    wide.paste("blue", (90, 0, 120, 40))
    found = views(DataConfig(augment=("random_resized_crop",), crop_area=0.1), 60, wide)
    assert not square(wide, 24, "bicubic", 0.8).any()
    assert any(view[0].any() for view in found)
    assert any(view[2].any() for view in found)

    def darkest(area: float) -> float:
        half = Image.fromarray((np.indices((40, 40)).sum(0) > 39).astype(np.uint8) * 255).convert("RGB")
        config = DataConfig(augment=("random_resized_crop",), crop_area=area)
        return min(float(view.float().mean()) for view in views(config, 60, half))

    assert darkest(0.05) < 10 < darkest(0.9)


def test_strengths_act() -> None:
    def spread(**settings: float) -> float:
        plain = square(PICTURE, 24, "bicubic", 0.8).float()
        config = DataConfig(augment=tuple(settings), **settings)  # type: ignore[arg-type]
        return float(torch.stack([(view.float() - plain).abs().mean() for view in views(config)]).mean())

    assert spread(colour_jitter=0.05) < 0.3 * spread(colour_jitter=0.8)
    assert spread(rand_augment=1) < 0.7 * spread(rand_augment=30)
    assert spread(random_erasing=0.1) < 0.4 * spread(random_erasing=1.0)


def test_what_is_erased_is_zero_after_normalisation() -> None:
    white = Image.new("RGB", (30, 30), "white")
    erased = [view[:, (view != 255).all(0)] for view in views(alone("random_erasing"), picture=white)]
    assert all(pixels.unique(dim=1).T.tolist() == [[51, 102, 153]] for pixels in erased)


def test_the_affine_map_of_signs_can_be_one_of_a_list() -> None:
    still = DataConfig(augment=("affine",), shift=0, scale=0, rotate=0)
    plain = square(PICTURE, 24, "bicubic", 0.8)
    for view in views(still, 4):
        assert int((view.int() - plain.int()).abs().max()) <= 1
    halved = Image.fromarray((np.indices((24, 24))[1] > 11).astype(np.uint8) * 255).convert("RGB")
    means = [float(view.float().mean()) for view in views(DataConfig(augment=("affine",), shift=0.4), picture=halved)]
    assert min(means) < 70
    assert max(means) > 185, "edges are repeated outwards"


@pytest.mark.parametrize("draw", [lambda: torch.rand(3), lambda: torch.randn(3)])
def test_the_draws_of_a_picture_leave_those_of_the_training_alone(draw: Callable[[], Tensor]) -> None:
    torch.manual_seed(3)
    undisturbed = [draw(), draw()]
    torch.manual_seed(3)
    first = draw()
    with seeded_by(1, 2):
        inside = draw()
    assert torch.equal(first, undisturbed[0])
    assert torch.equal(draw(), undisturbed[1])
    with seeded_by(1, 2):
        assert torch.equal(draw(), inside)
    for key, row in ((1, 3), (2, 2), (12, 0)):
        with seeded_by(key, row):
            assert not torch.equal(draw(), inside)


@pytest.mark.parametrize("interpolation", ["nearest", "bilinear", "bicubic", "lanczos", "box", "hamming"])
def test_every_interpolation_of_a_backbone_can_be_cropped_with(interpolation: str) -> None:
    spec = InputSpec(24, (0.5,) * 3, (0.5,) * 3, interpolation)
    with seeded_by(0, 0):
        assert PictureTransform(DataConfig(augment="photo"), spec)(PICTURE).shape == (3, 24, 24)
