"""Networks with fewer channels than their backbone: which layers are narrower, and how a net is made so.

    pruned net -> widths_of -> {"blocks.3.conv1": (12, 30), "blocks.3.bn1": (12,)} -> narrow(net of the backbone's widths)

A convolution or linear layer has (outputs, inputs), a batch norm (features,). Depthwise convolutions keep a group for each
channel, grouped ones keep their number of groups. Values are not taken over: whoever narrows a net fills it.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

Width = tuple[int, ...]


class WidthError(ValueError):
    """Widths that a net can't have."""


def width_of(module: nn.Module) -> Width | None:
    """The width of a layer; None for what has none."""
    if isinstance(module, nn.Conv2d):
        return module.out_channels, module.in_channels
    if isinstance(module, nn.Linear):
        return module.out_features, module.in_features
    return (module.num_features,) if isinstance(module, _BatchNorm) else None


def widths_of(net: nn.Module) -> dict[str, Width]:
    """The width of every layer that has one, by its name."""
    found = {name: width_of(module) for name, module in net.named_modules()}
    return {name: width for name, width in found.items() if width is not None}


def narrow(net: nn.Module, widths: Mapping[str, Width]) -> None:
    """Make layers of a net narrower, in place; their tensors are new and hold no values yet.

    Raises:
        WidthError: a name is no layer that has a width, or its width is none that it can have.
    """
    layers = dict(net.named_modules())
    for name, width in widths.items():
        layer = layers.get(name)
        whole = None if layer is None else width_of(layer)
        if layer is None or whole is None:
            raise WidthError(f"{name[:80]!r} is no convolution, linear layer or batch norm of this network")
        if len(width) != len(whole) or not all(1 <= new <= old for new, old in zip(width, whole, strict=True)):
            raise WidthError(f"{name[:80]!r} is to have {list(width)} channels, but it has {list(whole)}")
        _narrow(layer, width, name)


def _narrow(layer: nn.Module, width: Width, name: str) -> None:
    if isinstance(layer, nn.Conv2d):
        outputs, inputs = width
        groups = inputs if layer.groups == layer.in_channels > 1 else layer.groups
        if outputs % groups or inputs % groups:
            raise WidthError(f"{name[:80]!r} has {groups} groups, which {list(width)} channels can't be divided into")
        layer.out_channels, layer.in_channels, layer.groups = outputs, inputs, groups
        _resize(layer, {"weight": (outputs, inputs // groups, *layer.weight.shape[2:]), "bias": (outputs,)})
    elif isinstance(layer, nn.Linear):
        layer.out_features, layer.in_features = width
        _resize(layer, {"weight": width, "bias": width[:1]})
    elif isinstance(layer, _BatchNorm):
        (layer.num_features,) = width
        _resize(layer, dict.fromkeys(("weight", "bias", "running_mean", "running_var"), width))


def _resize(layer: nn.Module, shapes: Mapping[str, Width]) -> None:
    """New tensors in the place of those that a layer has under these names."""
    for name, shape in shapes.items():
        old = getattr(layer, name, None)
        if isinstance(old, nn.Parameter):
            setattr(layer, name, nn.Parameter(old.new_zeros(shape), requires_grad=old.requires_grad))
        elif isinstance(old, torch.Tensor):
            setattr(layer, name, old.new_zeros(shape))
