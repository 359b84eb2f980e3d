"""Least squares for what ends in a 1x1 convolution and a batch norm, whose output is affine in what the convolution reads."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from blocks.precision import float64

TINY = 1e-12
RIDGE = 1e-3  # of the mean variance of the inputs
LARGEST_SAMPLE = 16384  # positions; more do not move the solution


def ridge(gram: Tensor, product: Tensor) -> Tensor:
    """The linear map (C', C) that ridge regression gives.

    Args:
        gram: covariance of the inputs (C, C).
        product: of inputs and outputs (C, C').
    """
    penalty = RIDGE * gram.diagonal().mean() + TINY
    return torch.linalg.solve(gram + penalty * torch.eye(len(gram), dtype=gram.dtype, device=gram.device), product).T


def positions(x: Tensor, step: int, first: int = 0) -> Tensor:
    """Every `step`-th position of (B, C, H, W), from the `first` on, as rows (N, C), float64."""
    return float64(x.permute(0, 2, 3, 1).reshape(-1, x.shape[1])[first::step])


def sample_step(pictures: int, height: int, width: int) -> int:
    """Every how many of the positions of so many pictures are taken, so that they are at most `LARGEST_SAMPLE`."""
    return -(-pictures * height * width // LARGEST_SAMPLE)


@dataclass
class Rows:
    """Sums over rows (N, C): their number, their sum (C,), and that of their products (C, C), or of their squares (C,)."""

    count: int
    total: Tensor
    products: Tensor

    @classmethod
    def none(cls, like: Tensor, square: bool) -> Rows:
        """No rows yet; `square` is whether products of different channels are wanted."""
        channels = like.shape[1]
        return cls(0, like.new_zeros(channels), like.new_zeros((channels, channels) if square else (channels,)))

    def add(self, rows: Tensor) -> None:
        self.count += len(rows)
        self.total += rows.sum(0)
        self.products += rows.T @ rows if self.products.ndim == 2 else rows.square().sum(0)

    def mean(self) -> Tensor:
        return self.total / self.count

    def variance(self) -> Tensor:
        """The covariance (C, C), or the variances (C,)."""
        mean = self.mean()
        return self.products / self.count - (torch.outer(mean, mean) if self.products.ndim == 2 else mean.square())


@dataclass
class LinearEnd:
    """The 1x1 convolution and batch norm that a module ends in, and what stands before them."""

    before: nn.Sequential
    convolution: nn.Conv2d
    norm: nn.BatchNorm2d

    @classmethod
    def of(cls, module: nn.Module) -> LinearEnd | None:
        """None where a module does not end so."""
        if not isinstance(module, nn.Sequential) or len(module) < 2:
            return None
        convolution, norm = module[-2], module[-1]
        if not isinstance(convolution, nn.Conv2d) or not isinstance(norm, nn.BatchNorm2d):
            return None
        is_point = convolution.kernel_size == convolution.stride == (1, 1) and convolution.padding == (0, 0)
        if not is_point or convolution.groups != 1 or convolution.bias is not None:
            return None
        if not norm.affine or not norm.track_running_stats:
            return None
        return cls(module[:-2], convolution, norm)

    def read(self) -> tuple[Tensor, Tensor]:
        """The affine map that it is in eval mode: matrix (C', C) and constant (C',), float64."""
        norm = self.norm
        slope = float64(norm.weight) / (float64(norm.running_var) + norm.eps).sqrt()  # type: ignore[arg-type]
        matrix = slope.unsqueeze(1) * float64(self.convolution.weight.flatten(1))
        return matrix, float64(norm.bias) - slope * float64(norm.running_mean)  # type: ignore[arg-type]

    def write(self, matrix: Tensor, mean: Tensor, covariance: Tensor, given: Tensor) -> Tensor:
        """Make it another affine map.

        The norm undoes any scale of the convolution, and the optimiser's steps have one size for all weights; so the
        convolution's rows keep their norms, and the new scale goes into the batch norm, whose statistics become those of the
        inputs.

        Args:
            matrix: (C', C).
            mean, covariance: of the inputs, (C,) and (C, C).
            given: mean of the outputs (C',).

        Returns:
            The variance of the outputs (C',).
        """
        convolution, norm = self.convolution, self.norm
        spread = ((matrix @ covariance) * matrix).sum(1).clamp(min=0)
        rows = float64(convolution.weight.flatten(1).norm(dim=1)).clamp(min=TINY)
        scale = matrix.norm(dim=1).clamp(min=TINY) / rows
        variance = spread / scale**2
        convolution.weight.copy_((matrix / scale.unsqueeze(1)).view_as(convolution.weight))
        norm.running_mean.copy_(matrix @ mean / scale)  # type: ignore[union-attr]
        norm.running_var.copy_(variance)  # type: ignore[union-attr]
        norm.weight.copy_(scale * (variance + norm.eps).sqrt())
        norm.bias.copy_(given)
        return spread
