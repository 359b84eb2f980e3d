"""The backbone that comes with the package: a small residual network for 32 px pictures.

    3 x 32 x 32 -> stem -> 3 blocks 16 x 16 x 16 -> 4 blocks 32 x 8 x 8 -> 6 blocks 64 x 4 x 4 -> 3 blocks 128 x 2 x 2

ResNet-34's layout at a quarter of its width, built with timm's own ResNet class: 16 universal blocks, 1.36 M parameters,
18.6 M MACs. `recipes/pretrain.py` trained it on 60,000 Tiny-ImageNet pictures; the card beside the weights says how well.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from timm.models.resnet import BasicBlock, ResNet
from torch import nn

NAME = "resnet34_tiny"
WEIGHTS = Path(__file__).parent / "pretrained" / f"{NAME}.safetensors"
CARD = WEIGHTS.with_suffix(".md")
CLASSES = WEIGHTS.with_suffix(".classes.txt")
SOURCE_CLASSES = 200
INPUT_SIZE = 32
MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)
SOURCE_CROP = 0.8
"""Of its pretraining: the middle 32 of 40 px. What it reads of a target's pictures is whole."""


def source_classes() -> list[str]:
    """Names of the source classifier's classes in the order of its logits: WordNet's ids, as Tiny-ImageNet has them."""
    return CLASSES.read_text(encoding="utf-8").split()


def resnet34_tiny(num_classes: int = SOURCE_CLASSES) -> ResNet:
    """Build the embedded architecture with random weights.

    The stem is three 3x3 convolutions, the first of stride 2; there is no max-pool, so a 32 px picture enters the first
    block at 16 x 16.
    """
    model: Any = ResNet(  # timm's own annotations name an instance where its constructor takes the class
        BasicBlock,  # type: ignore[arg-type]
        layers=(3, 4, 6, 3),
        num_classes=num_classes,
        channels=(16, 32, 64, 128),
        stem_type="deep",
        stem_width=8,
    )
    model.maxpool = nn.Identity()
    return model
