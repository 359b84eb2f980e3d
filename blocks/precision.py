"""float64 where float32 is not exact enough: closed forms, whose sums and decompositions lose half of their digits.

x (float32, on any device) -> float64 -> the same numbers, on a device that has the type
"""

from __future__ import annotations

import torch
from torch import Tensor


def float64(x: Tensor) -> Tensor:
    """The same numbers in float64, on the CPU where a tensor's own device has no such type (Apple's MPS)."""
    return x.to(exact_device(x.device)).double()


def exact_device(device: torch.device) -> torch.device:
    """Where float64 of a device's tensors is computed: there, or on the CPU."""
    return torch.device("cpu") if device.type == "mps" else device
