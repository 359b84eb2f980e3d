"""Small things that tests are run on: a residual network of six blocks, and folders of real digits."""

from __future__ import annotations

import signal
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from sklearn.datasets import load_digits
from timm.models.resnet import BasicBlock, ResNet
from torch import Tensor, nn

from blocks import Backbone, InputSpec

QUICK = (
    "teacher.epochs=1",
    "student.epochs=1",
    "prune.epochs=1",
    "prune.patience=0",
    "prune.drop=100",
    "prune.shrink=0.5",
    "prune.measured_on=20",
    "student.warm_start=32",
    "recover.epochs=1",
    "prune.largest_loss=0",
    "teacher.lr=0.002",
    "student.lr=0.004",
    "teacher.batch=16",
    "student.batch=16",
)
"""Settings with which a whole adaptation takes some seconds."""

LINEAR = ("--method", "linear", *QUICK)
"""For tests that need some run: the method of the shortest training."""


def heed_ctrl_c() -> None:
    """For `preexec_fn`: a command that a background job starts would ignore Ctrl-C, as its shell tells it to."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def tiny_resnet(num_classes: int = 7) -> nn.Module:
    """Six basic blocks over four resolutions, as a user's own module would be given: by import path."""
    torch.manual_seed(7)
    return ResNet(
        BasicBlock,
        layers=(2, 2, 1, 1),
        num_classes=num_classes,
        channels=(8, 8, 16, 16),
        stem_type="deep",
        stem_width=4,
    )


class Inverted(nn.Module):
    """An inverted residual: an expansion by six, a depthwise convolution, a projection; its input is added where it fits."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        wide = 6 * inputs
        self.adds_input = inputs == outputs and stride == 1
        self.layers = nn.Sequential(
            *(nn.Conv2d(inputs, wide, 1, bias=False), nn.BatchNorm2d(wide), nn.ReLU6()),
            *(nn.Conv2d(wide, wide, 3, stride, 1, groups=wide, bias=False), nn.BatchNorm2d(wide), nn.ReLU6()),
            *(nn.Conv2d(wide, outputs, 1, bias=False), nn.BatchNorm2d(outputs)),
        )

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.layers(x)
        return out + x if self.adds_input else out


def tiny_inverted() -> nn.Module:
    """A plain convolution and three inverted residuals, of which one adds its input; its norms have seen pictures."""
    torch.manual_seed(1)
    model = nn.Sequential(
        *(nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(), nn.Conv2d(8, 8, 3, padding=1), nn.ReLU()),
        *(Inverted(8, 8, 1), Inverted(8, 16, 2), Inverted(16, 16, 1)),
        *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 4)),
    )
    for _ in range(30):
        model.train()(torch.randn(64, 3, 16, 16))
    return model.eval()


def live_in(model: nn.Module, size: int) -> nn.Module:
    """Give batch norms statistics, scales and shifts that differ from their start, so that tests can see them."""
    generator = torch.Generator().manual_seed(3)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            with torch.no_grad():
                module.running_mean.copy_(torch.randn(module.num_features, generator=generator) * 0.1)
                module.running_var.copy_(torch.rand(module.num_features, generator=generator) + 0.5)
                module.weight.copy_(torch.rand(module.num_features, generator=generator) + 0.5)
                module.bias.copy_(torch.randn(module.num_features, generator=generator) * 0.1)
    return model.eval()


def tiny_backbone(size: int = 16) -> Backbone:
    """The tiny network, cut."""
    return Backbone(live_in(tiny_resnet(), size), InputSpec(size, (0.5, 0.5, 0.5), (0.25, 0.25, 0.25)), "tiny")


def write_digits(root: Path, classes: int = 4, train: int = 12, val: int = 6, test: int = 6, first: int = 0) -> Path:
    """Real digits as PNG in split/class folders, from digit `first` on."""
    data = load_digits()
    for label in range(first, first + classes):
        rows = np.flatnonzero(data.target == label)
        start = 0
        for split, count in (("train", train), ("val", val), ("test", test)):
            folder = root / split / f"digit {label}"
            folder.mkdir(parents=True)
            for row in rows[start : start + count]:
                Image.fromarray((data.images[row] * 255 / 16).astype(np.uint8)).save(folder / f"{row:04d}.png")
            start += count
    return root
