"""Paths of the student, and their places in the gate matrix.

Layer l (1..L) mixes what arrives over its paths. With k skips there are at most 1 + k of them, so everything that belongs
to a path (gate, cost, fade) stands in a matrix of L rows and 1 + k columns:

    row l - 1:   slot 0 = universal block G_l      slot j = proxy A_(l-j)^l, the path from x_(l-j)   (j = 1..k, l - j >= 0)
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

UNIVERSAL = "universal"


@dataclass(frozen=True, order=True)
class Path:
    """One path into layer `target`. `form` is "universal" or the kind of its proxy."""

    target: int
    slot: int
    form: str

    @property
    def source(self) -> int:
        """The activation that the path reads."""
        return self.target - max(1, self.slot)

    @property
    def is_universal(self) -> bool:
        """Whether the path is the frozen block itself."""
        return self.slot == 0

    @property
    def key(self) -> str:
        """A short name, unique within a student: "G5", or "A3-5" for the proxy from x_3 to layer 5."""
        return f"G{self.target}" if self.is_universal else f"A{self.source}-{self.target}"

    @property
    def place(self) -> tuple[int, int]:
        """Row and column in the gate matrix."""
        return self.target - 1, self.slot


def slots(depth: int, skips: int, shared_prefix: int = 0) -> Tensor:
    """Which places of the gate matrix hold a path: bool (depth, 1 + skips); layers of a shared prefix hold no proxies."""
    rows = torch.arange(1, depth + 1).view(-1, 1)
    present = torch.arange(skips + 1).view(1, -1) <= rows
    present[:shared_prefix, 1:] = False
    return present
