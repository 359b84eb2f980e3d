"""What each picture goes through on its own in training, with the transforms of torchvision.

    RGB picture -> random_resized_crop, or the square of evaluation -> flip -> rand_augment -> colour_jitter
                -> affine -> random_erasing -> uint8 (3, S, S)

All but the last two work on Pillow's pictures: its filters are those of `InputSpec`, and its results do not depend on the
number of threads. What is drawn comes from torch's default generator, which `seeded_by` sets for each picture.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms import v2

from blocks import InputSpec
from nettailor.data.augment import affine, augmentations
from nettailor.data.config import DataConfig
from nettailor.data.images import array_of, square

OPERATIONS = 2
"""RandAugment's operations on a picture (Cubuk et al. 2020)."""


class PictureTransform:
    """A picture to the network's input size, augmented.

    Args:
        config: names the augmentations and their strengths.
        spec: what the backbone reads.
    """

    def __init__(self, config: DataConfig, spec: InputSpec) -> None:
        names = augmentations(config)
        self._spec, self._config = spec, replace(config, flip=False)  # mirrored by `flip` alone
        filter = v2.InterpolationMode(spec.interpolation)
        steps: dict[str, v2.Transform] = {}
        if "random_resized_crop" in names:
            area = (config.crop_area, 1.0)
            steps["random_resized_crop"] = v2.RandomResizedCrop(spec.size, scale=area, interpolation=filter)
        if "flip" in names:
            steps["flip"] = v2.RandomHorizontalFlip()
        if "rand_augment" in names:
            steps["rand_augment"] = v2.RandAugment(
                OPERATIONS, config.rand_augment, interpolation=v2.InterpolationMode.BILINEAR, fill=_mean(spec)
            )
        if "colour_jitter" in names:
            steps["colour_jitter"] = v2.ColorJitter(*[config.colour_jitter] * 3)
        self._crops = "random_resized_crop" in names
        self._steps = list(steps.values())
        self._affine = "affine" in names
        self._erase = None
        if "random_erasing" in names:
            self._erase = v2.RandomErasing(config.random_erasing, value=_mean(spec))

    def __call__(self, picture: Image.Image) -> Tensor:
        """RGB of any size, or S x S where nothing crops, to uint8 (3, S, S)."""
        if not self._crops and picture.size != (self._spec.size,) * 2:
            pixels = square(picture, self._spec.size, self._spec.interpolation, self._spec.crop)
            picture = Image.fromarray(pixels.permute(1, 2, 0).numpy())
        for step in self._steps:
            picture = step(picture)
        pixels = torch.from_numpy(array_of(picture)).permute(2, 0, 1)
        if self._affine:
            moved = affine(pixels[None], self._config, torch.default_generator)[0]
            pixels = moved.round().clamp(0, 255).to(torch.uint8)
        return pixels if self._erase is None else self._erase(pixels)


@contextmanager
def seeded_by(key: int, row: int) -> Iterator[None]:
    """Inside, torch's default generator is that of one picture in one epoch; after it, it is what it was before.

    Args:
        key: drawn by the epoch's generator.
        row: the picture's place in its split.
    """
    before = torch.get_rng_state()
    torch.default_generator.manual_seed(zlib.crc32(f"{key} {row}".encode()))
    try:
        yield
    finally:
        torch.set_rng_state(before)


def _mean(spec: InputSpec) -> list[float]:
    """The colour that is zero after normalisation."""
    return [float(round(255 * value)) for value in spec.mean]
