"""Pretrain the embedded backbone with units beside its last block, as a grown network has them: wide from the start.

    python -m recipes.evidence.wide --data tiny_imagenet_40.zip --out runs/evidence

    x_15 -> layer4.2 -> 128 channels -+-> concatenated, averaged over positions -> 200 classes
       |-> 3x3 convolution, ReLU -> 64 -+

It is pretrained as `recipes/pretrain.py` does, for as many passes. Stop it at any time; the same command goes on.
Expected: resnet34_tiny_wide.safetensors and .json with what it reaches, in OUT; about 45 minutes of two CPU cores. It is the
control of docs/evidence.md: is it the growing, or the width?
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import relu

from nettailor.backbones import resnet34_tiny as embedded
from nettailor.environment import versions
from nettailor.errors import NettailorError
from nettailor.files import read_tensors, write_json, write_tensors
from nettailor.training.pretraining import Pass, PretrainConfig, pretrain, top1_and_top5
from recipes.pretrain import SPEC, read_pictures

NAME = "resnet34_tiny_wide"
UNITS = 64
"""Half of what the last block has: as many as `grow_width` adds where nothing else is said."""


class Beside(nn.Module):
    """A block with units beside it that read the same input: (B, C, H, W) to (B, C' + units, H, W)."""

    def __init__(self, block: nn.Module, channels: int, units: int) -> None:
        super().__init__()
        self.block = block
        self.units = nn.Conv2d(channels, units, 3, padding=1)
        nn.init.kaiming_normal_(self.units.weight, mode="fan_out", nonlinearity="relu")  # as timm's ResNet begins

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.block(x), relu(self.units(x))], 1)


def resnet34_tiny_wide(num_classes: int = embedded.SOURCE_CLASSES) -> nn.Module:
    """The embedded architecture with random weights and `UNITS` units beside its last block."""
    model: Any = embedded.resnet34_tiny(num_classes)
    channels = int(model.num_features)
    model.layer4[-1] = Beside(model.layer4[-1], channels, UNITS)
    model.fc = nn.Linear(channels + UNITS, num_classes)
    model.num_features = channels + UNITS
    return model


def main(arguments: list[str] | None = None) -> int:
    """Train to the last pass, write the weights and what they reach."""
    parser = argparse.ArgumentParser(
        prog="python -m recipes.evidence.wide", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--data", type=Path, required=True, help="zip of train/ and val/ class folders, of 40 px")
    parser.add_argument("--out", type=Path, required=True, help="folder of the runs of the evidence")
    parser.add_argument("--epochs", type=int, default=PretrainConfig().epochs)
    options = parser.parse_args(arguments)
    config = PretrainConfig(options.epochs)
    checkpoint, weights = (options.out / f"{NAME}{end}.safetensors" for end in ("-checkpoint", ""))

    def show(one: Pass) -> None:
        print(f"pass {one.number:3d}/{config.epochs}  loss {one.loss:.3f}  top-1 {one.top1:.4f}", flush=True)

    train, val = read_pictures(options.data)
    model = pretrain(resnet34_tiny_wide, train, val, SPEC, config, checkpoint, after=show)
    tensors = {n: t.half() if t.is_floating_point() else t for n, t in model.state_dict().items()}
    model.load_state_dict(tensors)
    top1, top5 = top1_and_top5(model, val, SPEC)
    reached = {"passes": config.epochs, "top-1": round(top1, 4), "top-5": round(top5, 4)}
    minutes = round(read_tensors(checkpoint)[1]["seconds"] / 60, 1)
    record = {**reached, "minutes": minutes, "threads": torch.get_num_threads(), "commit": versions().get("commit", "")}
    write_json(weights.with_suffix(".json"), record)
    write_tensors(weights, tensors)
    print(f"{weights}: top-1 {top1:.4f}, top-5 {top5:.4f}")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except NettailorError as error:
        print(error, file=sys.stderr)
        sys.exit(1)
