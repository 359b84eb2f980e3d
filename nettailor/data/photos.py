"""Photographs that stay decoded: uint8 at a useful size, each with the shape of its own.

picture -> shorter side scaled to `shortest_side(spec)` -> one of few large buffers -> picture again, when a crop is drawn

Few buffers, because processes that share them need a file descriptor for each, and pictures of their own would copy.
"""

from __future__ import annotations

import math

import torch
from PIL import Image
from torch import Tensor

from blocks import InputSpec
from nettailor.data.images import array_of

BUFFER = 64 * 2**20
"""Bytes of one buffer, or of a picture that is larger."""
USEFUL = 1.25
"""Of the size at which evaluation crops: a random crop of 0.64 of the area has then all pixels that a network reads."""


def shortest_side(spec: InputSpec) -> int:
    """Pixels of a photograph's shorter side that random crops for a network are taken from."""
    return math.ceil(USEFUL * spec.size / spec.crop)


class Photos:
    """Pictures by number, kept as they come.

    Args:
        shortest: pixels to which a longer shorter side is scaled down; the aspect is kept.
        interpolation: how, a filter of Pillow.
        limit: bytes that all of them may take.
    """

    def __init__(self, shortest: int, interpolation: str, limit: int) -> None:
        self.shortest, self.limit, self.bytes = shortest, limit, 0
        self._filter = Image.Resampling[interpolation.upper()]
        self._buffers: list[Tensor] = []
        self._free = 0  # bytes left in the last buffer
        self._places: list[tuple[int, int, int, int]] = []  # buffer, first byte, height, width

    def __len__(self) -> int:
        return len(self._places)

    def scaled(self, picture: Image.Image) -> Tensor:
        """An RGB picture as it is kept: uint8 (H, W, 3)."""
        scale = self.shortest / min(picture.size)
        if scale < 1:
            width, height = (max(self.shortest, round(side * scale)) for side in picture.size)
            picture = picture.resize((width, height), self._filter)
        return torch.from_numpy(array_of(picture))

    def append(self, pixels: Tensor) -> bool:
        """Keep uint8 (H, W, 3); False where it would be more than the limit, and it is not kept."""
        size = pixels.numel()
        if self.bytes + size > self.limit:
            return False
        if size > self._free:
            self._buffers.append(torch.empty(max(BUFFER, size), dtype=torch.uint8))
            self._free = len(self._buffers[-1])
        start = len(self._buffers[-1]) - self._free
        self._buffers[-1][start : start + size] = pixels.reshape(-1)
        self._free -= size
        self.bytes += size
        self._places.append((len(self._buffers) - 1, start, pixels.shape[0], pixels.shape[1]))
        return True

    def __getitem__(self, index: int) -> Image.Image:
        """One of them as an RGB picture."""
        buffer, start, height, width = self._places[index]
        pixels = self._buffers[buffer][start : start + 3 * height * width]
        return Image.fromarray(pixels.view(height, width, 3).numpy())
