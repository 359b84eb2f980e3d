"""Pictures that are mixed with one another while a net trains: mixup (Zhang et al. 2018) and CutMix (Yun et al. 2019).

    x (B, 3, H, W), labels (B,) -> mixed x, probabilities (B, classes)

torchvision mixes each picture with its neighbour in the batch, whose order is random. It draws from torch's own generator,
which `loop.fit` seeds for every epoch.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor
from torchvision.transforms import v2

from nettailor.training.config import TrainingConfig

Batches = Iterator[tuple[Tensor, Tensor, Tensor]]


def mixes(config: TrainingConfig) -> bool:
    """Whether training shows mixtures of pictures."""
    return bool(config.mixup or config.cutmix)


def mixed(batches: Batches, config: TrainingConfig, classes: int) -> Batches:
    """Batches of pictures, labels and rows, mixed as the settings say; as they are where those say nothing.

    With both mixup and cutmix it is one of them for each batch, as likely as the other.
    """
    if not mixes(config):
        yield from batches
        return
    ways = [v2.MixUp(alpha=config.mixup, num_classes=classes)] if config.mixup else []
    ways += [v2.CutMix(alpha=config.cutmix, num_classes=classes)] if config.cutmix else []
    mix = v2.RandomChoice(ways)
    for x, labels, rows in batches:
        x, labels = mix(x, labels)
        yield x.contiguous(memory_format=torch.channels_last), labels, rows
