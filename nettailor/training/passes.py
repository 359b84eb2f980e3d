"""How many passes a training of ours takes where the recipe leaves it out.

A pass over few pictures is of few steps, and what a network learns goes by its steps: passes are added until there are
enough. The numbers of steps are those of the usual passes over a thousand pictures in batches of 64, a student's of twice as
many. On a hard task, where even the teacher is often wrong, a student learns to answer as its teacher more slowly: it is
trained twice as long. A round of removals, where it is trained, takes three times the steps at a rate that keeps pretrained
features, a recovery a third. At a high one recoveries are long, but those of large networks, which take their time anyway.
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

    def over(
        self, pictures: int, batch: int, configured: int | None = None, taught: float = 1.0, accumulate: int = 1
    ) -> int:
        """Passes over `pictures` training pictures in batches of `batch`: the configured ones where there are such.

        Args:
            accumulate: batches that make one optimiser step.
            taught: the teacher's accuracy on the validation split; below `HARD` the passes are doubled.
        """
        if configured is not None:
            return configured
        usual = max(self.passes, math.ceil(self.least_steps / Schedule(1, batch).steps_of(pictures, accumulate)))
        return 2 * usual if is_hard(taught) else usual


HARD = 0.8
"""A teacher's accuracy on the validation split, below which a task is hard."""


def is_hard(taught: float) -> bool:
    """Whether a task is hard, by its teacher's accuracy on the validation split."""
    return taught < HARD


LEAN = 0.5
"""Of the backbone's MACs: a network of more is recovered for fewer passes, as they are dear and it has less to learn."""


def in_the_time_of_a_lean_one(usual: int, share: float) -> int:
    """Of a recovery at a high rate: as many passes as take no longer than the usual ones of a network of `LEAN`.

    Args:
        share: the network's MACs, as a part of the backbone's.
    """
    return usual if share <= LEAN else max(1, round(usual * LEAN / share))


def of_round(keeps_features: bool) -> UsualPasses:
    """Of a round of removals, by whether it is trained at a rate that keeps pretrained features."""
    return SLOW_ROUND if keeps_features else ROUND


def of_recovery(keeps_features: bool) -> UsualPasses:
    """Of a recovery, by whether it is trained at a rate that keeps pretrained features."""
    return SLOW_RECOVERY if keeps_features else RECOVERY


STUDENT = UsualPasses(3, 96)
ROUND = UsualPasses(2, 32)
SLOW_ROUND = UsualPasses(2, 96)
"""Of a network that is trained at a low rate: a step brings back less of what a removal took."""
RECOVERY = UsualPasses(36, 576)
"""Of one network or two: a lean one goes on learning what its teacher answers long after it is a good one, and its passes are
cheap."""
SLOW_RECOVERY = UsualPasses(12, 192)
"""Of networks that are trained at a low rate: more passes were not shown to help them."""
