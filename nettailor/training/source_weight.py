"""How much the source's loss weighs while a network is fine-tuned softly: lambda(t), which falls to zero.

    L(t) = CE(target) + lambda(t) * L(source)        t: part of all steps that lies behind, 0 <= t < 1

    lambda |\\           linear        w * (1 - u)
           | \\          cosine        w * (1 + cos(pi * u)) / 2            u = t / until
           |  \\         exponential   w * (e^-5u - e^-5) / (1 - e^-5)
           |   \\        step          w, down to 0 at once where u = 1
           |____\\____   constant      w to the end, whatever `until` says: joint training
              until   t

Zhao et al. (2019) remove the source's loss softly; their schedule is not known to us. All of these are ours.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

DECAY = 5.0  # of the exponential: what is left of it at `until` is subtracted, so that it ends at zero
CONSTANT = "constant"
Falls = Literal["linear", "cosine", "exponential", "step", "constant"]

SHAPES: dict[str, Callable[[float], float]] = {
    "linear": lambda u: 1 - u,
    "cosine": lambda u: 0.5 * (1 + math.cos(math.pi * u)),
    "exponential": lambda u: (math.exp(-DECAY * u) - math.exp(-DECAY)) / (1 - math.exp(-DECAY)),
    "step": lambda u: 1.0,
}
"""What is left of the first weight at u, 0 <= u < 1; from u = 1 on nothing is."""


@dataclass(frozen=True)
class SourceWeight:
    """lambda(t).

    Attributes:
        first: its value at t = 0.
        falls: the shape of its way to zero.
        until: the part of all steps from which on it is zero; 0 < until <= 1.
    """

    first: float = 1.0
    falls: Falls = "linear"
    until: float = 0.5

    def __call__(self, t: float) -> float:
        """The weight when a part `t` of all steps lies behind."""
        if self.falls == CONSTANT:
            return self.first
        u = t / self.until
        return self.first * SHAPES[self.falls](u) if u < 1 else 0.0
