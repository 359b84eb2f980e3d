"""A shallower cut of a backbone: its first blocks and a new classifier, all of it free to change. A control, not a student.

stem -> G_1 .. G_m -> mean over positions -> linear
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor, fx, nn

from blocks.assembly import PooledHead
from blocks.backbone import Backbone
from blocks.counting import Cost, measure, tensors_of
from blocks.fold import fold
from blocks.trace import trace_plain
from blocks.wiring import Wiring, chain


class ShallowNet(nn.Module):
    """Deep copies of a backbone's stem and first `depth` blocks, with a classifier for `classes` classes."""

    def __init__(self, backbone: Backbone, depth: int, classes: int) -> None:
        super().__init__()
        if not 1 <= depth <= backbone.depth:
            raise ValueError(f"the depth is 1 to {backbone.depth}, not {depth}")
        self.spec = backbone.spec
        self.depth = depth
        self.stem = copy.deepcopy(backbone.stem)
        self.blocks = nn.ModuleList(copy.deepcopy(block) for block in list(backbone.blocks)[:depth])
        self.acts = nn.ModuleList(copy.deepcopy(act) for act in list(backbone.acts)[:depth])
        self.classifier = nn.Linear(backbone.shapes[depth][0], classes)
        self.requires_grad_(True)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for block, act in zip(self.blocks, self.acts, strict=True):
            x = act(block(x))
        logits: Tensor = self.classifier(x.mean((2, 3)))
        return logits

    def wiring(self) -> Wiring:
        """Its parts, for `fold`."""
        head = PooledHead(self.classifier.in_features, self.classifier.out_features)
        head.classifier = self.classifier
        return chain(self.stem, self.blocks, self.acts, trace_plain(head))  # type: ignore[arg-type]

    def for_inference(self) -> fx.GraphModule:
        """What it runs as: a folded copy that shares nothing, in eval mode."""
        return fold(self)

    def cost(self) -> Cost:
        """MACs of one picture, and elements of all tensors."""
        return measure(self, torch.zeros(1, 3, self.spec.size, self.spec.size, device=self.classifier.weight.device))

    def task_tensors(self) -> dict[str, Tensor]:
        """What the task owns: every tensor."""
        return tensors_of(self)

    def macs(self, backbone: Backbone) -> int:
        """MACs of one picture."""
        return _macs(backbone, self.depth) + self.classifier.weight.numel()


def depth_for(backbone: Backbone, macs: float) -> int:
    """How many blocks a shallower cut needs to have at least `macs` MACs, its classifier not counted; all if it can't."""
    return next((depth for depth in range(1, backbone.depth) if _macs(backbone, depth) >= macs), backbone.depth)


def _macs(backbone: Backbone, depth: int) -> int:
    return backbone.stem_cost.macs + sum(block.macs for block in backbone.block_costs[:depth])
