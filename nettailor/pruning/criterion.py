"""When a network is as good as its teacher: the drop in accuracy, picture by picture, and how well it is known.

    which pictures the teacher gets right, which the network does -> Drop(points, error, pictures) -> accepted or not

Both networks answer the same pictures, so the drop is the mean of paired differences (right, wrong) that are -1, 0 or 1, and
its standard error is that of such a mean. The network is the best of several on these very pictures, so its drop is
estimated too low: it is accepted where the drop plus half a standard error is within what is allowed, and where that alone is
more, it has to lose nothing on these pictures.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Tensor

from blocks import TailoredNet
from blocks.teachers import Teacher
from nettailor.data.task import Split
from nettailor.training.loop import answers, predictions
from nettailor.training.losses import softened_divergence

ROUNDING = 1e-9  # accuracies are quotients; a difference of just the allowed drop must not fail by its last bit
NORMAL_95 = 1.959964
NEAR = 0.04
"""Nats from its teacher's answers for each point that a network may lose, where pictures can't tell a loss of that size."""
NEARER = 2.0
"""So many times nearer to its teacher's than they were when it was cut recovery brings a network's answers at most: on few
pictures they come little nearer, or none."""
MARGIN = 0.5
"""Standard errors that are added. The best of two or three equal networks looks 0.56 to 0.85 of the standard error of their
difference too good; networks of one run answer much alike, so that this is smaller than the error against the teacher."""


@dataclass(frozen=True)
class Drop:
    """How many points of accuracy a network loses against its teacher, by `pictures` that both answered.

    Attributes:
        points: teacher's accuracy minus the network's.
        error: standard error of it, in points.
    """

    points: float
    error: float
    pictures: int

    @classmethod
    def between(cls, teacher: Tensor, net: Tensor) -> Drop:
        """From which pictures each gets right (N,), bool.

        With no difference at all the error is that of one differing picture: none seen is not none there.
        """
        difference = teacher.double() - net.double()
        count = len(difference)
        least = (1 - 1 / count) / count
        variance = max(float(difference.square().mean()) - float(difference.mean()) ** 2, least)
        error = math.sqrt(variance / max(1, count - 1))
        return cls(100 * float(difference.mean()), 100 * error, count)

    @property
    def low(self) -> float:
        """Lower end of the 95 % interval, in points."""
        return self.points - NORMAL_95 * self.error

    @property
    def high(self) -> float:
        """Upper end of it."""
        return self.points + NORMAL_95 * self.error

    def can_tell(self, allowed: float) -> bool:
        """Whether the pictures are enough to tell a drop of `allowed` points from none."""
        return self.error <= allowed

    def is_surely_beyond(self, allowed: float) -> bool:
        """Whether these pictures alone show that more than `allowed` points are lost: the whole 95 % interval is above it."""
        return self.low > allowed

    def seems_within(self, allowed: float) -> bool:
        """Whether no more than `allowed` points are lost on these pictures; on others it may be more."""
        return self.points <= allowed + ROUNDING

    def is_within(self, allowed: float) -> bool:
        """Whether a network that loses this much is accepted where `allowed` points may be lost."""
        return self.points + min(MARGIN * self.error, allowed) <= allowed + ROUNDING


def are_too_few(pictures: int, allowed: float) -> bool:
    """Whether one of so many pictures is more than the points that may be lost."""
    return 0 < allowed < 100 / pictures


def answered_right(net: Teacher | TailoredNet, split: Split) -> Tensor:
    """Which pictures of a split a net in eval mode answers right (N,), bool, on the CPU."""
    return predictions(net, split) == split.labels


def divergence(net: TailoredNet, taught: Tensor, split: Split) -> float:
    """Mean KL of a teacher's answers to a split from a net's, in nats.

    Args:
        taught: the teacher's logits (N, classes), by `loop.answers`.
    """
    return float(softened_divergence(answers(net, split), taught, 1.0))
