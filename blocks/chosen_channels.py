"""Some channels of a frozen convolution: a task stores their numbers, and the weights stay the backbone's.

y = conv(x; W[outputs][:, inputs] + U V)        W (C', C, h, w) the backbone's own        numbers, U and V the task's
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.func import functional_call

from blocks.adapters import Adapted, LowRank, factors_are_smaller, low_rank_factors


class ChosenChannels(Adapted):
    """A dense convolution that gives some of a backbone's convolution's channels, from all of its inputs or from some.

    Args:
        convolution: the backbone's own, shared.
        outputs, inputs: how many of its channels; the first are taken until `choose` says which.
        rank: of what is added to the kernel, where that is smaller than the kernel; 0 for nothing.
    """

    outputs: Tensor
    """Numbers of the channels that it gives (C',): floating-point, as all tensors of a task are."""
    inputs: Tensor | None
    """Of those that it reads (C,); None for all."""
    up: nn.Parameter | None
    down: nn.Parameter | None

    def __init__(self, convolution: nn.Conv2d, outputs: int, inputs: int, rank: int) -> None:
        super().__init__(convolution)
        place = convolution.weight.device  # where modules are made on another by default, too
        self.register_buffer("outputs", torch.arange(outputs, dtype=torch.float32, device=place))
        some = inputs < convolution.in_channels
        self.register_buffer("inputs", torch.arange(inputs, dtype=torch.float32, device=place) if some else None)
        reads = inputs * convolution.weight[0, 0].numel()
        fits = rank > 0 and factors_are_smaller(outputs, reads, rank)
        up, down = low_rank_factors(outputs, reads, rank, place) if fits else (None, None)
        self.register_parameter("up", up)
        self.register_parameter("down", down)

    @property
    def out_channels(self) -> int:
        """How many channels it gives."""
        return len(self.outputs)

    @property
    def in_channels(self) -> int:
        """How many channels it reads."""
        return self.convolution.in_channels if self.inputs is None else len(self.inputs)

    def numbers_are_right(self) -> bool:
        """Whether the backbone's convolution has channels of all these numbers."""
        of = self.convolution
        found = [(self.outputs, of.out_channels), *([] if self.inputs is None else [(self.inputs, of.in_channels)])]
        return all(bool(((each >= 0) & (each < most) & (each == each.round())).all()) for each, most in found)

    @torch.no_grad()
    def choose(self, outputs: Tensor, inputs: Tensor | None, whole: nn.Module) -> None:
        """Take other channels, and what a task added to these of the whole convolution, where that is of the same rank.

        Args:
            outputs, inputs: numbers (C',), (C,); inputs is None for all.
            whole: the convolution as it stands in a task's block.
        """
        self.outputs.copy_(outputs)
        if self.inputs is not None and inputs is not None:
            self.inputs.copy_(inputs)
        if self.up is not None and self.down is not None and isinstance(whole, LowRank):
            self.up.copy_(whole.up[outputs])
            factors = whole.down.view(-1, *self.convolution.weight.shape[1:])
            self.down.copy_((factors if inputs is None else factors[:, inputs]).flatten(1))

    def elements_read(self) -> dict[str, int]:
        """Of the convolution's tensors, how many elements are read; by name in this module."""
        read = {"convolution.weight": self.out_channels * self.in_channels * self.convolution.weight[0, 0].numel()}
        return read if self.convolution.bias is None else {**read, "convolution.bias": self.out_channels}

    def addition(self) -> Tensor:
        shape = (self.out_channels, self.in_channels, *self.convolution.kernel_size)
        if self.up is None or self.down is None:
            return self.convolution.weight.new_zeros(shape)
        return (self.up @ self.down).view(shape)

    def weight(self) -> Tensor:
        chosen = self.convolution.weight.index_select(0, _whole(self.outputs))
        if self.inputs is not None:
            chosen = chosen.index_select(1, _whole(self.inputs))
        return chosen if self.up is None else chosen + self.addition()

    def merged(self) -> nn.Conv2d:
        plain = super().merged()
        plain.out_channels, plain.in_channels = self.out_channels, self.in_channels
        if plain.bias is not None:
            plain.bias = nn.Parameter(self._bias().detach(), requires_grad=False)
        return plain

    def forward(self, x: Tensor) -> Tensor:
        tensors = {"weight": self.weight()}
        if self.convolution.bias is not None:
            tensors["bias"] = self._bias()
        out: Tensor = functional_call(self.convolution, tensors, (x,))
        return out

    def _bias(self) -> Tensor:
        assert self.convolution.bias is not None
        return self.convolution.bias.index_select(0, _whole(self.outputs))


def _whole(numbers: Tensor) -> Tensor:
    """As indices: an average of weights rounds."""
    return numbers.round().long()
