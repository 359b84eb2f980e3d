"""Pictures to network input: order, variation and normalisation of batches, decided by generators alone.

The order and the variation of an epoch come from one generator seeded with (seed, stage, epoch), so an epoch can be
repeated without having run those before it.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import torch
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample

from blocks import InputSpec
from nettailor.recipe import DataChoice
from nettailor.task import Split

EVALUATION_BATCH = 250


def epoch_generator(seed: int, stage: str, epoch: int) -> torch.Generator:
    """The one source of randomness of an epoch."""
    return torch.Generator().manual_seed(zlib.crc32(f"{seed} {stage} {epoch}".encode()))


def normalise(images: Tensor, spec: InputSpec, device: torch.device) -> Tensor:
    """uint8 or float 0..255 (B, 3, S, S) to normalised float32 on `device`, channels last in memory."""
    images = images.to(device, non_blocking=True).to(torch.float32)
    mean = torch.tensor(spec.mean, device=device).view(1, 3, 1, 1) * 255
    std = torch.tensor(spec.std, device=device).view(1, 3, 1, 1) * 255
    return ((images - mean) / std).contiguous(memory_format=torch.channels_last)


def vary(images: Tensor, choice: DataChoice, generator: torch.Generator) -> Tensor:
    """Random shift, size, rotation and mirroring of each picture (B, 3, S, S), edges repeated outwards."""
    if not is_varied(choice):
        return images
    count = len(images)
    draws = torch.rand(count, 5, generator=generator) * 2 - 1
    angle = draws[:, 0] * math.radians(choice.rotate)
    size = 1 + draws[:, 1] * choice.scale
    mirror = torch.where(draws[:, 2] < 0, -1.0, 1.0) if choice.flip else torch.ones(count)
    shift = draws[:, 3:] * 2 * choice.shift  # the side is 2 long in grid_sample's coordinates
    cos, sin = torch.cos(angle) * size, torch.sin(angle) * size
    rows = torch.stack([cos * mirror, -sin, shift[:, 0], sin * mirror, cos, shift[:, 1]], 1)
    grid = affine_grid(rows.view(count, 2, 3), list(images.shape), align_corners=False)
    return grid_sample(images.float(), grid, mode="bilinear", padding_mode="border", align_corners=False)


def steps_per_epoch(split: Split, batch: int) -> int:
    """Batches of one pass; the pictures that do not fill the last one wait for another epoch's order."""
    return max(1, len(split) // batch)


def training_batches(
    split: Split, choice: DataChoice, spec: InputSpec, batch: int, generator: torch.Generator, device: torch.device
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """One epoch of normalised, varied batches (B, 3, S, S) with labels (B,) and their rows in the split, in random order."""
    order = torch.randperm(len(split), generator=generator)
    steps = steps_per_epoch(split, batch)
    plan = [order[step * batch : (step + 1) * batch] for step in range(steps)]
    for rows, images in _ahead(split, plan):
        varied = vary(images, choice, generator)
        yield normalise(varied, spec, device), split.labels[rows].to(device), rows


def is_varied(choice: DataChoice) -> bool:
    """Whether training shows a picture differently every time."""
    return bool(choice.shift or choice.scale or choice.rotate or choice.flip)


def evaluation_batches(split: Split, spec: InputSpec, device: torch.device) -> Iterator[tuple[Tensor, Tensor]]:
    """All pictures in order, unvaried."""
    for rows, images in _ahead(split, list(torch.arange(len(split)).split(EVALUATION_BATCH))):
        yield normalise(images, spec, device), split.labels[rows].to(device)


def _ahead(split: Split, plan: list[Tensor]) -> Iterator[tuple[Tensor, Tensor]]:
    """Batches of a plan; the next one is decoded while the last one is used, unless all are in memory anyway."""
    if split.images is not None:
        yield from ((rows, split.batch(rows)) for rows in plan)
        return
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(split.batch, plan[0])
        for place, rows in enumerate(plan):
            images = waiting.result()
            if place + 1 < len(plan):
                waiting = pool.submit(split.batch, plan[place + 1])
            yield rows, images
