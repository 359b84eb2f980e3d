"""Early stopping: a stage ends after some passes without a better accuracy on the validation split, and keeps the best pass.

metrics of a pass, tensors -> BestPass.see -> enough?          at the end: BestPass.tensors -> net
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

MONITORED = "val_accuracy"


@dataclass
class BestPass:
    """The best pass so far; of equals the first.

    Attributes:
        stop_after: passes without a better one that are enough.
        epoch: its number, counted from 1; 0 before any was seen.
        misses: passes since.
        tensors: what the stage may change, as it was after that pass.
    """

    stop_after: int
    epoch: int = 0
    misses: int = 0
    metrics: dict[str, float] = field(default_factory=dict)
    tensors: dict[str, Tensor] = field(default_factory=dict)

    def see(self, epoch: int, metrics: dict[str, float], own: dict[str, Tensor]) -> None:
        """Take in a pass."""
        if self.epoch and metrics[MONITORED] <= self.metrics[MONITORED]:
            self.misses += 1
            return
        self.epoch, self.misses, self.metrics = epoch, 0, dict(metrics)
        self.tensors = {name: tensor.detach().clone() for name, tensor in own.items()}

    @property
    def is_enough(self) -> bool:
        """Whether the stage ends here."""
        return self.misses >= self.stop_after

    def notes(self) -> dict[str, Any]:
        """What a checkpoint keeps beside the tensors."""
        return {"epoch": self.epoch, "misses": self.misses, "metrics": self.metrics}
