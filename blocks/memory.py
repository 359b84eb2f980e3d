"""How much of a net's activations is held at a time: pictures in a batch, and what a student keeps for its gradients.

The rules go by shapes alone, so the same net is always split in the same way. All sizes are of float32.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from blocks.proxies import Shape

ACTIVATIONS_AT_ONCE = 256 * 2**20
"""Bytes that x_0..x_L of the pictures of one batch may take where nothing is trained."""

FLOAT = 4


def size_of(shape: Shape) -> int:
    """Bytes of one picture's activation."""
    return FLOAT * math.prod(shape)


def pictures_at_once(shapes: Sequence[Shape], most: int, copies: int = 1, least: int = 1) -> int:
    """How many pictures may be looked at together, between `least` and `most`.

    Args:
        shapes: of x_0..x_L.
        copies: how many times the size of x_0..x_L is held: 1 where no gradient is wanted.
    """
    fitting = ACTIVATIONS_AT_ONCE // (copies * sum(map(size_of, shapes)))
    return max(least, min(most, fitting))
