"""What the new units of a grown network begin as.

    kaiming   N(0, 2 / inputs), biases 0
    normal    N(0, 0.005^2), biases 0
    copy      units of the layer beside them, drawn without replacement, and noise of 0.1 of their deviation

Wang et al. (2017) compare such starts; that old units are copied and perturbed is published, by how much is ours. Of a
linear layer the rows are copied. A block has no rows: in their place is the ridge regression of a 3x3 convolution from what
the block reads to what it gives before its activation, over some thousand positions, as warm starts have it
(`blocks.warm_start`). Weights on new units of the layer below are noise alone, as old units read none of those.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d, unfold

from blocks.backbone import Backbone
from blocks.grown import CLASSIFIER, CLASSIFIER_STD, GROWN, Grown, stride_between
from blocks.head_layers import linear_layers
from blocks.least_squares import LARGEST_SAMPLE, RIDGE, TINY
from blocks.scaled_norm import ScaledNorm
from blocks.top import NEW
from blocks.whole import WholeNet

Start = Literal["kaiming", "normal", "copy"]
NORMAL_STD = 0.005
NOISE = 0.1  # of the deviation of the copied weights
LARGEST_PATCH = 4608  # numbers in a 3x3 patch; of wider blocks the fit reads the middle position alone

Pictures = Callable[[], Iterable[Tensor]]
"""Gives batches of pictures (B, 3, H, W)."""


@dataclass(frozen=True)
class OldUnits:
    """The units of a layer as rows: weight (units, channels, 3, 3) or (units, features), and bias (units,)."""

    weight: Tensor
    bias: Tensor


def old_counts(top: Grown, backbone: Backbone) -> dict[str, int]:
    """How many old units there are beside each module of new ones of the last step, by its name."""
    number, step = len(top.steps), top.steps[-1]
    deep = [place for place, before in enumerate(top.steps[:-1], 1) if before.kind in ("depth", "both")]
    if deep:
        return {f"{NEW}beside{number}": top.steps[deep[-1] - 1].units} if step.kind != "depth" else {}
    counts = [backbone.shapes[-2][0], backbone.shapes[-1][0]]
    counts += [int(backbone.head.get_submodule(path).out_features) for path in linear_layers(backbone)]  # type: ignore[arg-type]
    found = {f"{NEW}beside{number}": counts[-1]} if step.kind != "depth" else {}
    return found | ({f"{NEW}below{number}": counts[-2]} if step.kind == "twice" else {})


@torch.no_grad()
def begin(net: WholeNet, start: Start, scale: float, generator: torch.Generator) -> None:
    """Give the new modules of a fresh network of a grown top their first values; copies are made after that.

    Args:
        scale: of every normalised branch.
        generator: on the CPU.
    """
    for name, module in net.head.named_children():
        if isinstance(module, ScaledNorm):
            module.gamma.fill_(scale)
        elif name == CLASSIFIER and isinstance(module, nn.Linear):
            _fill(module, CLASSIFIER_STD, generator)
        elif name.startswith(NEW) and isinstance(module, nn.Conv2d | nn.Linear):
            _fill(module, NORMAL_STD if start == "normal" else (2 / module.weight[0].numel()) ** 0.5, generator)


@torch.no_grad()
def copy_units(net: WholeNet, old: dict[str, OldUnits], generator: torch.Generator) -> None:
    """Make new units copies of old ones, with noise on all weights.

    Args:
        old: units to copy, by the name of the new module.
        generator: on the CPU; draws which, without replacement, and the noise.
    """
    for name, units in old.items():
        module = net.head.get_submodule(name)
        assert isinstance(module, nn.Conv2d | nn.Linear)
        rows = torch.randperm(len(units.weight), generator=generator)[: len(module.weight)]
        wanted = units.weight[rows]
        made = NOISE * wanted.std() * torch.randn(module.weight.shape, generator=generator)
        made[:, : wanted.shape[1]] += wanted
        module.weight.copy_(made)
        assert module.bias is not None
        module.bias.copy_(units.bias[rows])


@torch.no_grad()
def carry_over(net: WholeNet, before: WholeNet) -> None:
    """Give a network that grows once more all that the one before it had; its classifier is dropped.

    Args:
        net: its top has the steps of the other's, and one more.
    """
    own = net.state_dict(keep_vars=True)
    for name, tensor in before.task_tensors().items():
        if name.startswith(f"head.{CLASSIFIER}."):
            continue
        later = name if name in own else name.replace(f"head.{NEW}", f"head.{GROWN}", 1)
        own[later].copy_(tensor)


@torch.no_grad()
def old_units(net: WholeNet, pictures: Pictures) -> dict[str, OldUnits]:
    """The units to copy of a network that has what it begins with, by the name of the module that gets them.

    Args:
        pictures: called once for each block whose units are wanted.
    """
    top, backbone = net.plan.top, net.backbone
    assert isinstance(top, Grown)
    number, found = len(top.steps), {}
    deep = [place for place, before in enumerate(top.steps[:-1], 1) if before.kind in ("depth", "both")]
    layers: list[str | int] = [backbone.depth - 1, backbone.depth, *linear_layers(backbone)]
    if deep:
        layers = ["", f"{GROWN}above{deep[-1]}"]
    for name in old_counts(top, backbone):
        layer = layers[-1] if name == f"{NEW}beside{number}" else layers[-2]
        if isinstance(layer, str):
            linear = net.head.get_submodule(layer)
            assert isinstance(linear, nn.Linear)
            bias = torch.zeros(linear.out_features) if linear.bias is None else linear.bias
            found[name] = OldUnits(linear.weight.detach().cpu(), bias.detach().cpu())
        else:
            found[name] = _fit_block(net, layer, pictures)
    return found


def _fill(module: nn.Conv2d | nn.Linear, deviation: float, generator: torch.Generator) -> None:
    module.weight.copy_(deviation * torch.randn(module.weight.shape, generator=generator))
    assert module.bias is not None
    module.bias.zero_()


def _fit_block(net: WholeNet, layer: int, pictures: Pictures) -> OldUnits:
    """Ridge regression of a block, before its activation, on 3x3 patches of what it reads."""
    was_training, shapes = net.training, net.backbone.shapes
    net.eval()
    stride, channels = stride_between(shapes[layer - 1], shapes[layer]), shapes[layer - 1][0]
    side = 3 if 9 * channels <= LARGEST_PATCH else 1
    _, height, width = shapes[layer - 1]
    size = -(-height // stride[0]), -(-width // stride[1])
    taken, patches, given = 0, [], []
    for x in pictures():
        before = net.advance({0: net.stem(x)}, 0, layer - 1)[layer - 1]
        wanted = adaptive_avg_pool2d(net.blocks[str(layer)](before), size)
        rows = unfold(before, side, padding=side // 2, stride=stride)
        patches.append(rows.transpose(1, 2).flatten(0, 1).cpu())
        given.append(wanted.flatten(2).transpose(1, 2).flatten(0, 1).cpu())
        taken += len(given[-1])
        if taken >= LARGEST_SAMPLE:
            break
    net.train(was_training)
    weight, bias = _ridge(torch.cat(patches)[:LARGEST_SAMPLE], torch.cat(given)[:LARGEST_SAMPLE])
    whole = weight.new_zeros(len(weight), channels, 3, 3)
    first = (3 - side) // 2
    whole[:, :, first : first + side, first : first + side] = weight.view(len(weight), channels, side, side)
    return OldUnits(whole, bias)


def _ridge(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Weight (C', D) and bias (C',) of the linear map from rows (N, D) to rows (N, C')."""
    a, b = a.double(), b.double()
    a_mean, b_mean = a.mean(0), b.mean(0)
    gram = (a.T @ a).div_(len(a)).sub_(torch.outer(a_mean, a_mean))
    product = a.T @ b / len(a) - torch.outer(a_mean, b_mean)
    gram.diagonal().add_(RIDGE * gram.diagonal().mean() + TINY)
    weight = torch.linalg.solve(gram, product).T
    return weight.float(), (b_mean - weight @ a_mean).float()
