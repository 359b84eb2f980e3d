"""A shallower cut of a backbone: its first blocks and a new classifier, all of it free to change. A control, not a student.

stem -> G_1 .. G_m -> mean over positions -> linear
"""

from __future__ import annotations

import copy

from torch import Tensor, nn

from blocks.backbone import Backbone
from blocks.fuse import frozen_copy


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

    def frozen_copy(self) -> ShallowNet:
        """The same function up to rounding, for computing only, its norms folded."""
        twin = copy.deepcopy(self)
        twin.stem = frozen_copy(self.stem)
        twin.blocks = nn.ModuleList(frozen_copy(block) for block in self.blocks)  # type: ignore[arg-type]
        return twin.requires_grad_(False).eval()

    def macs(self, backbone: Backbone) -> int:
        """MACs of one picture."""
        return _macs(backbone, self.depth) + self.classifier.weight.numel()


def depth_for(backbone: Backbone, macs: float) -> int:
    """How many blocks a shallower cut needs to have at least `macs` MACs, its classifier not counted; all if it can't."""
    return next((depth for depth in range(1, backbone.depth) if _macs(backbone, depth) >= macs), backbone.depth)


def _macs(backbone: Backbone, depth: int) -> int:
    return backbone.stem_cost.macs + sum(block.macs for block in backbone.block_costs[:depth])
