"""An exponential moving average of a net's weights, and of its norms' statistics, while it trains.

    average <- d * average + (1 - d) * weights        d = min(decay, 1 - (1 + t)^(-2/3)) at step t = 0, 1, ...

The decay grows from 0, as in timm's `ModelEmaV3` with its warm-up, so that an average of few steps is not one of the start.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

WARMUP_POWER = 2 / 3
STATISTICS = ("running_mean", "running_var")


class WeightAverage:
    """The average of the tensors that a stage may change. Buffers other than statistics (fades of paths) have none.

    Attributes:
        tensors: the averages by name.
    """

    def __init__(self, own: dict[str, Tensor], decay: float) -> None:
        self._decay = decay
        self._own = {name: tensor for name, tensor in own.items() if _is_averaged(name, tensor)}
        self.tensors = {name: tensor.detach().clone() for name, tensor in self._own.items()}

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Take in the weights after optimiser step number `step`, counted from 0."""
        decay = min(self._decay, 1 - (1 + step) ** -WARMUP_POWER)
        for name, average in self.tensors.items():
            average.lerp_(self._own[name], 1 - decay)

    @torch.no_grad()
    def swap(self) -> None:
        """Exchange the net's weights and their average, to the bit; a second time puts both back."""
        for name, average in self.tensors.items():
            kept = average.clone()
            average.copy_(self._own[name])
            self._own[name].copy_(kept)


def _is_averaged(name: str, tensor: Tensor) -> bool:
    return isinstance(tensor, nn.Parameter) or name.rpartition(".")[2] in STATISTICS
