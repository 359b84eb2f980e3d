"""A net that is trained as a whole, or from a layer up: any paths over a copy of the backbone; no student.

Backbone, NetPlan(copied=True) -> WholeNet -> compact -> CompactNet      the same builder, so the same bits
Backbone -> first_of_each_stage -> paths of a chain without the other blocks
"""

from __future__ import annotations

import torch
from torch import nn

from blocks.assembly import NetPlan
from blocks.backbone import Backbone
from blocks.compact import CompactNet
from blocks.paths import UNIVERSAL, Path
from blocks.top import NEW, new_layers


class WholeNet(CompactNet):
    """A compact net that trains: a deep copy of the backbone's parts from a layer up, free to change, and what is new.

    Args:
        plan: `copied`, as tensors are the net's own; its gates are constants of 1 where it has any.
    """

    def __init__(self, backbone: Backbone, plan: NetPlan) -> None:
        if not plan.copied:
            raise ValueError("a net that is trained as a whole owns its tensors: its plan has to be copied")
        super().__init__(backbone, plan)
        for tensor in self.task_tensors().values():
            tensor.requires_grad_(isinstance(tensor, nn.Parameter))
        for part in self._frozen_parts():  # of a head that has grown before, they may be the task's own
            part.requires_grad_(False)
        self.gates.requires_grad_(False)

    def train(self, mode: bool = True) -> WholeNet:
        """As of any module, in what is the task's own; the rest is the backbone's, and its norms keep their statistics."""
        nn.Module.train(self, mode)
        for part in self._frozen_parts():
            part.eval()
        return self

    def new_parameters(self) -> list[nn.Parameter]:
        """Those that the backbone has not trained: of the classifier, and of all that a top adds."""
        layers = new_layers(self.head, self.backbone, self.plan.top)
        return [parameter for layer in layers.values() for parameter in layer.parameters()]

    def _frozen_parts(self) -> list[nn.Module]:
        """Stem and layers below the first that is tuned, and of a head that is not tuned what the backbone has of it."""
        first = self.plan.tuned_from
        parts: list[nn.Module] = [self.stem] if first > 0 else []
        parts += [part for kind in (self.blocks, self.acts) for layer, part in kind.items() if int(layer) < first]
        if first > self.backbone.depth + 1:
            parts += [part for name, part in self.head.named_children() if not name.startswith(NEW)]
        return parts


def stages_of(backbone: Backbone) -> list[list[int]]:
    """The layers 1..L in runs of the same output shape, channels and resolution."""
    runs: list[list[int]] = []
    for layer in range(1, backbone.depth + 1):
        same = runs and backbone.shapes[runs[-1][-1]] == backbone.shapes[layer]
        if same:
            runs[-1].append(layer)
        else:
            runs.append([layer])
    return runs


def first_of_each_stage(backbone: Backbone, count: int) -> tuple[Path, ...]:
    """The paths of a chain of the first `count` blocks of each stage; an identity stands for what is left out of one.

    Raises:
        ValueError: no stage has more blocks, or an activation that would act twice stands where blocks are left out.
    """
    paths: list[Path] = []
    stages = stages_of(backbone)
    if all(len(stage) <= count for stage in stages):
        raise ValueError(
            f"no stage of {backbone.name} has more than {count} block(s) of one shape: nothing can be left out"
        )
    for stage in stages:
        paths += [Path(layer, 0, UNIVERSAL) for layer in stage[:count]]
        last = stage[-1]
        if len(stage) > count:
            if not _acts_once(backbone, last):
                raise ValueError(
                    f"block {backbone.block_names[last - 1]} of {backbone.name} ends with an activation that would act twice "
                    "on what the block before it gave"
                )
            paths.append(Path(last, len(stage) - count, "identity"))
    return tuple(paths)


@torch.no_grad()
def _acts_once(backbone: Backbone, layer: int) -> bool:
    """Whether the activation behind a layer does nothing the second time, as a ReLU: the identity goes through it, too."""
    act, noise = (
        backbone.acts[layer - 1],
        torch.randn(1, *backbone.shapes[layer], generator=torch.Generator().manual_seed(0)),
    )
    once = act(8 * noise.to(next(backbone.parameters()).device))
    return torch.equal(act(once), once)


@torch.no_grad()
def reinitialise(net: nn.Module) -> None:
    """Random weights in the place of trained ones: He's normal for convolutions (fan out), for all else each layer's own.

    Raises:
        ValueError: a parameter belongs to no layer that knows how it begins.
    """
    for name, module in net.named_modules():
        if isinstance(module, nn.modules.conv._ConvNd):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif hasattr(module, "reset_parameters"):
            module.reset_parameters()
        elif own := [part for part, _ in module.named_parameters(recurse=False)]:
            raise ValueError(f"{name + '.' if name else ''}{own[0]} belongs to no layer that knows its random start")
