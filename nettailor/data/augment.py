"""Where a batch is augmented: shift, scale, rotation and mirroring of each picture, decided by a generator alone."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample

from nettailor.data.config import DataConfig


def augment(images: Tensor, config: DataConfig, generator: torch.Generator) -> Tensor:
    """Random shift, size, rotation and mirroring of each picture (B, 3, S, S), edges repeated outwards."""
    if not augments(config):
        return images
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
    return bool(config.shift or config.scale or config.rotate or config.flip)
