"""What happens to a picture before the network sees it, as part of an exported graph.

    uint8 (B, 3, H, W) -> resized so that `crop` of the shorter side is S pixels, the middle kept -> normalised (B, 3, S, S)

Resizing is two products with matrices of filter weights, one along each side, which every format has; Pillow's filters
are written out, and each product is rounded to whole grey levels as Pillow rounds, so the result is that of
`nettailor.data.images.square` but for some pixels that are one level off, where rounding is a tie (of `box` and `nearest`
another row or column may be taken there). A picture of S x S pixels counts as cut already, as the pictures of a `Split`
are: it is only normalised.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from blocks import InputSpec


class Preprocessed(nn.Module):
    """A network with its preprocessing.

    Args:
        net: normalised pictures (B, 3, S, S) to logits.
        spec: the pictures that it reads.
        any_size: pictures of any size come in; else squares of S x S, which are only normalised.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, net: nn.Module, spec: InputSpec, any_size: bool) -> None:
        super().__init__()
        self.net = net
        self.spec = spec
        self.any_size = any_size
        self.register_buffer("mean", torch.tensor(spec.mean).view(1, 3, 1, 1) * 255, persistent=False)
        self.register_buffer("std", torch.tensor(spec.std).view(1, 3, 1, 1) * 255, persistent=False)

    def forward(self, pictures: Tensor) -> Tensor:
        return self.net(self.normalised(pictures))

    def normalised(self, pictures: Tensor) -> Tensor:
        """What the network reads of uint8 pictures (B, 3, H, W)."""
        x = pictures.to(torch.float32)
        if self.any_size:
            x = self._square(x)
        return (x - self.mean) / self.std

    def _square(self, x: Tensor) -> Tensor:
        """Grey levels (B, 3, H, W) to (B, 3, S, S), along the rows first, as Pillow does."""
        height, width = _length(x.shape[2]), _length(x.shape[3])
        size = float(self.spec.size)
        is_cut = torch.logical_and(height == size, width == size)
        factor = torch.where(is_cut, torch.ones(()), (size / self.spec.crop) / torch.minimum(height, width))
        across = self._weights(x.shape[3], width, factor)
        down = self._weights(x.shape[2], height, factor)
        return _levels(torch.matmul(down, _levels(torch.matmul(x, across.transpose(0, 1)))))

    def _weights(self, count: int, length: Tensor, factor: Tensor) -> Tensor:
        """The matrix (S, count) that resizes one side and keeps its middle; each row adds up to 1."""
        size = self.spec.size
        wanted = torch.clamp(torch.round(length * factor), min=float(size))
        start = torch.floor((wanted - size) / 2)
        places = torch.arange(count, dtype=torch.float32)
        # in units of half a pixel of the resized picture over `length`: whole numbers, so that ties stay ties in float32
        centres = (2 * (torch.arange(size, dtype=torch.float32) + start) + 1) * length
        if self.spec.interpolation == "nearest":
            nearest = torch.minimum(torch.floor(centres / (2 * wanted)), length - 1)
            return (places[None] == nearest[:, None]).to(torch.float32)
        distances = ((2 * places[None] + 1) * wanted - centres[:, None]) / (2 * torch.maximum(length, wanted))
        weights = FILTERS[self.spec.interpolation](distances)
        return weights / weights.sum(1, keepdim=True)


def _length(side: int) -> Tensor:
    """A side in pixels as a tensor, also where the graph leaves it open."""
    return torch.ones(side).sum()


def _levels(x: Tensor) -> Tensor:
    """Rounded to whole grey levels, halves up."""
    return torch.clamp(torch.floor(x + 0.5), 0.0, 255.0)


def _box(x: Tensor) -> Tensor:
    return torch.logical_and(x > -0.5, x <= 0.5).to(torch.float32)


def _bilinear(x: Tensor) -> Tensor:
    return torch.clamp(1.0 - torch.abs(x), min=0.0)


def _hamming(x: Tensor) -> Tensor:
    inside = (torch.abs(x) < 1.0).to(torch.float32)
    return _sinc(x) * (0.54 + 0.46 * torch.cos(math.pi * x)) * inside


def _bicubic(x: Tensor) -> Tensor:
    """With Pillow's a = -0.5."""
    x = torch.clamp(torch.abs(x), max=2.0)
    near = (1.5 * x - 2.5) * x * x + 1.0
    far = ((-0.5 * x + 2.5) * x - 4.0) * x + 2.0
    return torch.where(x < 1.0, near, far)


def _lanczos(x: Tensor) -> Tensor:
    inside = (torch.abs(x) < 3.0).to(torch.float32)
    return _sinc(x) * _sinc(x / 3.0) * inside


def _sinc(x: Tensor) -> Tensor:
    """sin(pi x) / (pi x), 1 at 0."""
    at_zero = torch.abs(x) < 1e-6
    angle = torch.where(at_zero, torch.ones_like(x), math.pi * x)
    return torch.where(at_zero, torch.ones_like(x), torch.sin(angle) / angle)


FILTERS: dict[str, Callable[[Tensor], Tensor]] = {
    "box": _box,
    "bilinear": _bilinear,
    "hamming": _hamming,
    "bicubic": _bicubic,
    "lanczos": _lanczos,
}
"""Pillow's filters (`Resample.c`), as functions of the distance in pixels of the coarser side."""
