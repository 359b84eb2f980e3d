"""The one place where MACs and parameters are counted.

MACs are multiply-accumulates of convolutions and linear layers, counted by `torch.utils.flop_counter` on a real forward
of one picture, so they hold for the input size at hand. Parameters are counted from tensors: every floating-point tensor
that a network needs to run, the running statistics of its batch norms included, because a task that owns statistics has
to store them too.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode


@dataclass(frozen=True)
class Cost:
    """What a part of a network takes: MACs for one picture, and floating-point tensor elements."""

    macs: int
    params: int

    def __add__(self, other: Cost) -> Cost:
        return Cost(self.macs + other.macs, self.params + other.params)


def count_macs(module: nn.Module, *inputs: Tensor) -> int:
    """MACs of one forward of `module` on `inputs`, (1, C, H, W) each, in eval mode; the module's own mode is put back."""
    modes = [(part, part.training) for part in module.modules()]
    module.eval()
    try:
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            module(*inputs)
    finally:
        for part, mode in modes:
            part.training = mode
    return int(counter.get_total_flops()) // 2


def count_params(tensors: Iterable[Tensor]) -> int:
    """Elements of the floating-point tensors, each tensor once."""
    distinct = {id(tensor): tensor for tensor in tensors if tensor.is_floating_point()}
    return sum(tensor.numel() for tensor in distinct.values())


@runtime_checkable
class ReadsSome(Protocol):
    """A module that computes with a part of tensors that it holds."""

    def elements_read(self) -> dict[str, int]:
        """How many elements of them, by their names in the module."""


def params_of(modules: Iterable[nn.Module]) -> int:
    """Elements of the floating-point tensors that modules compute with, each tensor once.

    Of a tensor of which only a part is read by any of them, that part.
    """
    whole: dict[int, int] = {}
    some: dict[int, int] = {}
    for module in modules:
        partly = {
            f"{at}.{name}".lstrip("."): count
            for at, part in module.named_modules()
            if isinstance(part, ReadsSome)
            for name, count in part.elements_read().items()
        }
        for name, tensor in tensors_of(module).items():
            (some if name in partly else whole)[id(tensor)] = partly.get(name, tensor.numel())
    return sum((some | whole).values())


def tensors_of(module: nn.Module) -> dict[str, Tensor]:
    """Parameters and saved buffers by name, the very objects and not copies, without batch norms' step counters."""
    state = module.state_dict(keep_vars=True)
    return {name: tensor for name, tensor in state.items() if tensor.is_floating_point()}


def measure(module: nn.Module, inputs: Tensor) -> Cost:
    """MACs of one forward and all floating-point tensors of a module."""
    return Cost(count_macs(module, inputs), params_of([module]))
