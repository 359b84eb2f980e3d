"""Low-rank weights: what a task adds to a frozen convolution, W + U V, and stores as two thin matrices.

    y = conv(x; W + U V)        W (C', C, h, w) the backbone's own        U (C', r), V (r, C h w) the task's

As in LoRA (Hu et al., 2022, section 4.1) U starts at zero, so a fresh student computes what the backbone computes; that a
convolution's kernel is one matrix (C', C h w) here, and that this is put beside NetTailor's proxies, is ours. The sum is a
convolution like the one before, so it costs no MACs; `fold` adds it up once and for all.
"""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable

import torch
from torch import Tensor, fx, nn
from torch.func import functional_call

from blocks.trace import with_modules


class Adapted(nn.Module, ABC):
    """A convolution of the backbone to whose kernel a task adds something of its own."""

    def __init__(self, convolution: nn.Conv2d) -> None:
        super().__init__()
        self.convolution = convolution

    @abstractmethod
    def addition(self) -> Tensor:
        """What is added to the kernel, in its shape (C', C, h, w)."""

    def weight(self) -> Tensor:
        """The kernel that is applied."""
        return self.convolution.weight + self.addition()

    def merged(self) -> nn.Conv2d:
        """A plain convolution that computes the same."""
        plain = copy.deepcopy(self.convolution)
        plain.weight = nn.Parameter(self.weight().detach(), requires_grad=False)
        return plain

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = functional_call(self.convolution, {"weight": self.weight()}, (x,))
        return out


class LowRank(Adapted):
    """An addition of rank `rank`."""

    def __init__(self, convolution: nn.Conv2d, rank: int) -> None:
        super().__init__(convolution)
        self.up, self.down = low_rank_factors(len(convolution.weight), convolution.weight[0].numel(), rank)

    def addition(self) -> Tensor:
        return (self.up @ self.down).view_as(self.convolution.weight)


def low_rank_factors(
    outputs: int, inputs: int, rank: int, device: torch.device | None = None
) -> tuple[nn.Parameter, nn.Parameter]:
    """U (outputs, rank), which starts at zero, and V (rank, inputs)."""
    up = torch.zeros(outputs, rank, device=device)
    return nn.Parameter(up), nn.Parameter(torch.randn(rank, inputs, device=device) * inputs**-0.5)


class ResidualAdapter(Adapted):
    """A 1x1 convolution beside a larger one (Rebuffi et al., 2018, "parallel adapters"): it adds to the kernel's centre."""

    def __init__(self, convolution: nn.Conv2d) -> None:
        super().__init__(convolution)
        self.beside = nn.Parameter(torch.zeros(convolution.weight.shape[:2]))

    def addition(self) -> Tensor:
        height, width = self.convolution.kernel_size
        sides = (width // 2, width - 1 - width // 2, height // 2, height - 1 - height // 2)
        return nn.functional.pad(self.beside[:, :, None, None], sides)


def merged_copy(module: nn.Module) -> nn.Module:
    """A copy that computes the same, every kernel that a task adds to added up already."""
    twin = copy.deepcopy(module)
    for part in list(twin.modules()):
        for name, child in part.named_children():
            if isinstance(child, Adapted):
                setattr(part, name, child.merged())
    return twin


def add_residual_adapters(segment: fx.GraphModule) -> fx.GraphModule:
    """A segment with a 1x1 convolution beside every dense convolution that looks beyond one pixel."""
    return _adapt(segment, lambda m: ResidualAdapter(m) if m.groups == 1 and max(m.kernel_size) > 1 else None)


def add_low_rank(segment: fx.GraphModule, rank: int) -> fx.GraphModule:
    """A segment whose dense convolutions have an addition of the task's own, where that is smaller than the kernel."""
    return _adapt(segment, lambda m: LowRank(m, rank) if rank and is_adaptable(m, rank) else None)


def _adapt(segment: fx.GraphModule, adapted: Callable[[nn.Conv2d], Adapted | None]) -> fx.GraphModule:
    """A segment in which some convolutions are others; `adapted` gives the new one, or None."""
    called = sorted({str(node.target) for node in segment.graph.nodes if node.op == "call_module"})
    modules = {path: segment.get_submodule(path) for path in called}
    found = {path: adapted(module) for path, module in modules.items() if isinstance(module, nn.Conv2d)}
    return with_modules(segment, {path: module for path, module in found.items() if module is not None})


def is_adaptable(module: nn.Module, rank: int) -> bool:
    """Whether a module is a convolution in which all channels meet, and larger than factors of this rank.

    Small kernels count most where a task's pictures differ from the backbone's own: those of the first layers.
    """
    if not isinstance(module, nn.Conv2d) or module.groups != 1:
        return False
    return factors_are_smaller(len(module.weight), module.weight[0].numel(), rank)


def factors_are_smaller(outputs: int, inputs: int, rank: int) -> bool:
    """Whether the factors of a matrix have fewer elements than the matrix."""
    return rank * (outputs + inputs) < outputs * inputs
