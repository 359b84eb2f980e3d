"""Which augmentations training applies, and the one of small signs and characters: a batch is moved by one affine map each.

sign: batch -> shift, scale, rotation and mirroring of each picture      photo, lists: `nettailor.data.transforms`
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample

from nettailor.data.config import AUGMENTATIONS, NONE, PHOTO, SIGN, DataConfig


def augment(images: Tensor, config: DataConfig, generator: torch.Generator) -> Tensor:
    """A batch (B, 3, S, S) as `sign` augments it; as it is where nothing does, or each picture has been on its own."""
    return affine(images, config, generator) if config.augment == SIGN and augments(config) else images


def affine(images: Tensor, config: DataConfig, generator: torch.Generator) -> Tensor:
    """Random shift, size, rotation and mirroring of each picture (B, 3, S, S), edges repeated outwards."""
    count = len(images)
    draws = torch.rand(count, 5, generator=generator) * 2 - 1
    angle = draws[:, 0] * math.radians(config.rotate)
    size = 1 + draws[:, 1] * config.scale
    mirror = torch.where(draws[:, 2] < 0, -1.0, 1.0) if config.flip else torch.ones(count)
    shift = draws[:, 3:] * 2 * config.shift  # the side is 2 long in grid_sample's coordinates
    cos, sin = torch.cos(angle) * size, torch.sin(angle) * size
    rows = torch.stack([cos * mirror, -sin, shift[:, 0], sin * mirror, cos, shift[:, 1]], 1)
    grid = affine_grid(rows.view(count, 2, 3), list(images.shape), align_corners=False)
    return grid_sample(images.float(), grid, mode="bilinear", padding_mode="border", align_corners=False)


def augments(config: DataConfig) -> bool:
    """Whether training shows a picture differently every time."""
    moves = bool(config.shift or config.scale or config.rotate)
    if config.augment == SIGN:
        return moves or config.flip
    return any(name != "affine" or moves for name in augmentations(config))


def augmentations(config: DataConfig) -> tuple[str, ...]:
    """The augmentations that each picture goes through on its own, in their order; none under `sign` and `none`."""
    if config.augment in (SIGN, NONE):
        return ()
    if config.augment == PHOTO:
        strength = {
            "colour_jitter": config.colour_jitter,
            "rand_augment": config.rand_augment,
            "random_erasing": config.random_erasing,
            "affine": 0,
        }
        return tuple(name for name in AUGMENTATIONS if strength.get(name, 1))
    return tuple(config.augment)


def crops(config: DataConfig) -> bool:
    """Whether training takes crops from the whole picture, not from the square that evaluation sees."""
    return "random_resized_crop" in augmentations(config)
