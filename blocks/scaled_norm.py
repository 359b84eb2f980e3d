"""L2 norm of a vector with one learned factor per channel, so that branches of different size can be put side by side.

v (B, d) -> gamma * v / max(|v|, 1e-8) -> (B, d)

After Wang et al. (2017), "Growing a Brain": the length of every vector is `scale` at the start, 10 or 20 there.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

SMALLEST = 1e-8
"""A vector that is shorter is divided by this; one of zeros stays zeros."""


class ScaledNorm(nn.Module):
    """Normalise each vector of a batch and scale its channels.

    Args:
        channels: d, the length of the vectors.
        scale: what every factor begins as. Factors are a vector, so they have no weight decay.
    """

    def __init__(self, channels: int, scale: float = 10.0) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.full((channels,), float(scale)))

    def forward(self, v: Tensor) -> Tensor:
        return self.gamma * normalize(v, dim=1, eps=SMALLEST)
