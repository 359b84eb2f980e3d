"""Pictures to network input: order, augmentation and normalisation of batches, decided by generators alone.

    split, order -> squares in memory, or a loader's processes -> augment -> normalise -> (x, labels, rows)

The order and the augmentation of an epoch come from one generator seeded with (seed, stage, epoch), so an epoch can be
repeated without having run those before it.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import torch
from torch import Tensor

from blocks import InputSpec
from blocks.batching import batch_slices
from nettailor.data.augment import augment, augmentations, crops
from nettailor.data.config import DataConfig
from nettailor.data.loader import Loader, Pictures, worker_count
from nettailor.data.task import Split
from nettailor.data.transforms import PictureTransform

EVALUATION_BATCH = 250
EVALUATION_PIXELS = 32 * 224 * 224
"""Of the pictures that are evaluated together: 250 up to 80 px, 32 at 224 px."""


def epoch_generator(seed: int, stage: str, epoch: int) -> torch.Generator:
    """The one source of randomness of an epoch."""
    return torch.Generator().manual_seed(zlib.crc32(f"{seed} {stage} {epoch}".encode()))


def normalise(images: Tensor, spec: InputSpec, device: torch.device) -> Tensor:
    """uint8 or float 0..255 (B, 3, S, S) to normalised float32 on `device`, channels last in memory."""
    images = images.to(device, non_blocking=True).to(torch.float32)
    mean = torch.tensor(spec.mean, device=device).view(1, 3, 1, 1) * 255
    std = torch.tensor(spec.std, device=device).view(1, 3, 1, 1) * 255
    return ((images - mean) / std).contiguous(memory_format=torch.channels_last)


def steps_per_epoch(split: Split, batch: int) -> int:
    """Batches of one pass; the pictures that do not fill the last one wait for another epoch's order."""
    return max(1, len(split) // batch)


def training_batches(
    split: Split, config: DataConfig, spec: InputSpec, batch: int, generator: torch.Generator, device: torch.device
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """One epoch of normalised, augmented batches (B, 3, S, S) with labels (B,) and rows, in random order.

    Neither the number of workers nor what was drawn before has a part in it: all comes from the generator.

    Raises:
        DataError: a picture that is not in memory is damaged.
    """
    order = torch.randperm(len(split), generator=generator)
    steps = steps_per_epoch(split, batch)
    plan = [order[step * batch : (step + 1) * batch] for step in range(steps)]
    for rows, images in augmented_batches(split, config, spec, plan, generator):
        yield normalise(images, spec, device), split.labels[rows].to(device), rows


def augmented_batches(
    split: Split, config: DataConfig, spec: InputSpec, plan: list[Tensor], generator: torch.Generator
) -> Iterator[tuple[Tensor, Tensor]]:
    """For each tensor of rows in a plan the rows and their augmented pictures, 0..255 (B, 3, S, S), uint8 or float."""
    key = int(torch.randint(2**31, (1,), generator=generator)) if augmentations(config) else None
    for rows, images in _read(split, config, spec, plan, key):
        yield rows, augment(images, config, generator)


def _read(
    split: Split, config: DataConfig, spec: InputSpec, plan: list[Tensor], key: int | None
) -> Iterator[tuple[Tensor, Tensor]]:
    """Batches of a plan, uint8 (B, 3, S, S); each picture is augmented on its own where there is a key for it."""
    if key is None and split.images is not None:
        return _ahead(split, plan)
    workers = worker_count(config.workers, split.source)
    if key is None and workers == 0:
        return _ahead(split, plan)  # threads read while the last batch is used
    wanted = config, spec, workers
    if split.loader is None or split.loader[0] != wanted:
        transform = None if key is None else PictureTransform(config, spec)
        pictures = Pictures(split.source, split.names, spec, split.images, split.photos, transform, crops(config))
        split.loader = wanted, Loader(pictures, workers)
    batches = split.loader[1].batches(plan, key)
    return zip(plan, batches if key is not None else (images.contiguous() for images in batches), strict=True)


def evaluation_batches(split: Split, spec: InputSpec, device: torch.device) -> Iterator[tuple[Tensor, Tensor]]:
    """All pictures in order, unvaried; no batch is of one picture, unless there is but one.

    Fewer are taken at once where they are large, so that their activations fit in memory.
    """
    order = torch.arange(len(split))
    plan = [order[part] for part in batch_slices(len(split), evaluation_size(spec))]
    for rows, images in _ahead(split, plan):
        yield normalise(images, spec, device), split.labels[rows].to(device)


def evaluation_size(spec: InputSpec) -> int:
    """How many pictures are evaluated together."""
    return max(1, min(EVALUATION_BATCH, EVALUATION_PIXELS // spec.size**2))


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


def sample_batches(
    split: Split, count: int, seed: int, spec: InputSpec, device: torch.device, batch: int
) -> Iterator[Tensor]:
    """At most `count` pictures of a split, drawn by the seed and unvaried: normalised (B, 3, H, W)."""
    rows = torch.randperm(len(split), generator=torch.Generator().manual_seed(seed))[:count]
    return (normalise(split.batch(rows[part]), spec, device) for part in batch_slices(len(rows), batch))
