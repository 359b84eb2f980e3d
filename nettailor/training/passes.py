"""How many passes a training of ours takes where the recipe leaves it out.

A pass over few pictures is of few steps, and what a network learns goes by its steps: passes are added until there are
enough. The numbers of steps are those of the usual passes over a thousand pictures in batches of 64.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from nettailor.training.loop import Schedule


@dataclass(frozen=True)
class UsualPasses:
    """The usual number of passes, and the optimiser steps that they are at least to make."""

    passes: int
    least_steps: int

    def over(self, pictures: int, batch: int, configured: int | None = None) -> int:
        """Passes over `pictures` training pictures in batches of `batch`: the configured ones where there are such."""
        if configured is not None:
            return configured
        return max(self.passes, math.ceil(self.least_steps / Schedule(1, batch).steps_of(pictures)))


STUDENT = UsualPasses(6, 96)
ROUND = UsualPasses(2, 32)
RECOVERY = UsualPasses(12, 192)
