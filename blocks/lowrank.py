"""Low-rank weights: what a task adds to a frozen convolution, W + U V, and stores as two thin matrices.

    y = conv(x; W + U V)        W (C', C, h, w) the backbone's own        U (C', r), V (r, C h w) the task's

As in LoRA (Hu et al., 2022, section 4.1) U starts at zero, so a fresh student computes what the backbone computes; that a
convolution's kernel is one matrix (C', C h w) here, and that this is put beside NetTailor's proxies, is ours. The sum is a
convolution like the one before, so it costs no MACs; `fold` adds it up once and for all.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor, fx, nn
from torch.func import functional_call

from blocks.layers import CONVOLUTION
from blocks.trace import with_modules


class LowRank(nn.Module):
    """A convolution of the backbone with a task's own addition of rank `rank` to its kernel."""

    def __init__(self, convolution: nn.Module, rank: int) -> None:
        super().__init__()
        self.convolution = convolution
        weight = convolution.weight
        outputs, inputs = len(weight), weight[0].numel()  # type: ignore[arg-type, index, operator]
        self.up = nn.Parameter(torch.zeros(outputs, rank))
        self.down = nn.Parameter(torch.randn(rank, inputs) * inputs**-0.5)

    def weight(self) -> Tensor:
        """The kernel that is applied."""
        base: Tensor = self.convolution.weight  # type: ignore[assignment]
        return base + (self.up @ self.down).view_as(base)

    def merged(self) -> nn.Module:
        """A plain convolution that computes the same."""
        plain = copy.deepcopy(self.convolution)
        plain.weight = nn.Parameter(self.weight().detach(), requires_grad=False)
        return plain

    def forward(self, x: Tensor) -> Tensor:
        return functional_call(self.convolution, {"weight": self.weight()}, (x,))


def add_low_rank(segment: fx.GraphModule, rank: int) -> fx.GraphModule:
    """A segment whose dense convolutions have an addition of the task's own, where that is smaller than the kernel."""
    called = {str(node.target) for node in segment.graph.nodes if node.op == "call_module"}
    modules = {path: segment.get_submodule(path) for path in sorted(called)} if rank else {}
    adapted: dict[str, nn.Module] = {p: LowRank(m, rank) for p, m in modules.items() if is_adaptable(m, rank)}
    return with_modules(segment, adapted)


def is_adaptable(module: nn.Module, rank: int) -> bool:
    """Whether a module is a convolution in which all channels meet, and larger than factors of this rank.

    Small kernels count most where a task's pictures differ from the backbone's own: those of the first layers.
    """
    if not isinstance(module, CONVOLUTION) or module.groups != 1:
        return False
    outputs, inputs = len(module.weight), module.weight[0].numel()
    return rank * (outputs + inputs) < outputs * inputs
