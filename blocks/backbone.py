"""The backbone: a pretrained CNN in pieces, frozen, with the shapes and costs of its pieces.

    model -> cut -> Backbone(stem, G_1..G_L, head) -> { one student, teacher or compact net per task }

It holds the model's own modules. Students share them; a teacher is a deep copy of them that is free to change.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass

import torch
from torch import Tensor, fx, nn

from blocks.counting import Cost, count_macs, count_params, measure, tensors_of
from blocks.cut import cut, new_classifier
from blocks.fold import fold
from blocks.fuse import frozen_copy
from blocks.layer_types import CONVOLUTION
from blocks.proxies import Shape, Site
from blocks.thinned import Thinnable
from blocks.trace import with_modules
from blocks.wiring import Wiring, chain


@dataclass(frozen=True)
class InputSpec:
    """The pictures that a backbone reads: RGB, `size` x `size`, scaled to 0..1 and normalised channel by channel.

    Attributes:
        size: side in pixels.
        mean, std: of each channel.
        interpolation: how pictures are resized, a filter of Pillow: "bilinear", "bicubic", ...
        crop: the part of the picture's shorter side that is kept, around the middle; 0 < crop <= 1.
    """

    size: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    interpolation: str = "bilinear"
    crop: float = 1.0


class Backbone(nn.Module):
    """Stem, universal blocks and head; pictures (B, 3, H, W) in, logits (B, classes) out.

    Args:
        model: a CNN whose logits come from a linear layer or 1x1 convolution. Its modules are used, not copied; they are
            frozen and put in eval mode, and its in-place activations are made out-of-place.
        spec: the pictures it reads.
        name: what reports and deltas call it.

    Attributes:
        source_classes: names of the source classifier's classes in the order of its logits, where they are known.
        source_crop: as `InputSpec.crop`, of the pictures that it was pretrained on, where that is known and another one.
        tuned_from: of a `teacher`: the first layer that trains (`blocks.assembly.NetPlan.tuned_from`).

    Raises:
        CutError: the model can't be cut.
    """

    source_classes: list[str] | None = None
    source_crop: float | None = None
    tuned_from = 0

    def __init__(self, model: nn.Module, spec: InputSpec, name: str) -> None:
        super().__init__()
        self.name = name
        self.spec = spec
        example = torch.zeros(1, 3, spec.size, spec.size)
        pieces = cut(model, example)
        self.stem = pieces.stem
        self.blocks = nn.ModuleList(piece.body for piece in pieces.pieces)
        self.acts = nn.ModuleList(piece.act if piece.act is not None else nn.Identity() for piece in pieces.pieces)
        self.head = pieces.head
        self.block_names = [piece.name for piece in pieces.pieces]
        self.classifier_paths = pieces.classifiers
        self.requires_grad_(False).eval()
        with torch.no_grad():
            xs = self.activations(example)[:-1]
            self.shapes: list[Shape] = [(x.shape[1], x.shape[2], x.shape[3]) for x in xs]
            self.stem_cost = measure(self.stem, example)
            self.block_costs = [measure(block, x) for block, x in zip(self.blocks, xs, strict=False)]
            self.head_cost = self._headless_cost(xs[-1])
        self.widths = [_width(block, shape[0]) for block, shape in zip(self.blocks, self.shapes[1:], strict=True)]

    @property
    def depth(self) -> int:
        """Number of universal blocks."""
        return len(self.blocks)

    @property
    def cost(self) -> Cost:
        """MACs and parameters of all that tasks share: the source classifier is not counted."""
        return sum(self.block_costs, self.stem_cost + self.head_cost)

    @property
    def features(self) -> int:
        """Length of the vector that a new classifier reads."""
        old = self.head.get_submodule(self.classifier_paths[0])
        return int(old.in_channels if isinstance(old, nn.Conv2d) else old.in_features)  # type: ignore[arg-type]

    @property
    def classes(self) -> int:
        """Length of the logits."""
        old = self.head.get_submodule(self.classifier_paths[0])
        return int(old.out_channels if isinstance(old, nn.Conv2d) else old.out_features)  # type: ignore[arg-type]

    def activations(self, x: Tensor) -> list[Tensor]:
        """x_0..x_L and, last, the logits."""
        found = [self.stem(x)]
        for block, act in zip(self.blocks, self.acts, strict=True):
            found.append(act(block(found[-1])))
        return [*found, self.head(found[-1])]

    def forward(self, x: Tensor) -> Tensor:
        return self.activations(x)[-1]

    def tensors(self) -> dict[str, Tensor]:
        """What tasks share, by the names that the original model gave it; the source classifier is left out."""
        named: dict[str, Tensor] = {}
        for segment in (self.stem, *self.blocks, *self.acts, self.head):
            named |= tensors_of(segment)
        own = tuple(f"{path}." for path in self.classifier_paths)
        return {name: tensor for name, tensor in named.items() if not name.startswith(own)}

    def site(self, source: int, target: int, rank: int = 0) -> Site:
        """The place of a proxy from x_`source` to layer `target`, for a task that adds so much to dense convolutions."""
        beside = Thinnable.of(self.blocks[target - 1]) if source == target - 1 else None  # type: ignore[arg-type]
        return Site(self.shapes[source], self.shapes[target], self.widths[target - 1], beside, rank)

    def teacher(self, classes: int, tuned_from: int = 0) -> Backbone:
        """A deep copy with a new classifier, trainable from a layer up.

        Args:
            tuned_from: 0 for all of it; l for block l and up; L + 1 for the head alone, L + 2 for the classifier.
        """
        twin = copy.deepcopy(self)
        twin.name = f"{self.name}'s teacher"
        twin.source_classes = None
        twin.head = self.head_for(classes, copied=True)
        twin.requires_grad_(True)
        twin.tuned_from = tuned_from
        for part in twin.parts_below(tuned_from):
            part.requires_grad_(False)
        for path in self.classifier_paths:
            twin.head.get_submodule(path).requires_grad_(True)
        return twin

    def train(self, mode: bool = True) -> Backbone:
        """As of any module; what does not train is in eval mode, so norms in it keep their statistics."""
        super().train(mode)
        for part in self.parts_below(self.tuned_from):
            part.eval()
        return self

    def new_parameters(self) -> list[nn.Parameter]:
        """Those of its classifiers, which in a `teacher` are new."""
        return [parameter for path in self.classifier_paths for parameter in self.head.get_submodule(path).parameters()]

    def parts_below(self, layer: int) -> list[nn.Module]:
        """Stem, blocks with their activations, and head, as far as they lie below a layer; L + 1 is the head."""
        layers = [[self.stem], *zip(self.blocks, self.acts, strict=True), [self.head]]
        return [module for parts in layers[:layer] for module in parts]

    def wiring(self) -> Wiring:
        """Its parts, for `fold`."""
        return chain(self.stem, self.blocks, self.acts, self.head)

    def for_inference(self) -> fx.GraphModule:
        """What a backbone, or a teacher that came of one, runs as: a folded copy that shares nothing, in eval mode."""
        return fold(self)

    def network_cost(self) -> Cost:
        """MACs of one picture and elements of all tensors of the whole network, its own classifier too.

        `cost` leaves the classifier out, because tasks do not share it.
        """
        last = torch.zeros(1, *self.shapes[-1], device=next(self.parameters()).device)
        macs = sum((block.macs for block in self.block_costs), self.stem_cost.macs + count_macs(self.head, last))
        return Cost(macs, count_params(tensors_of(self).values()))

    def task_tensors(self) -> dict[str, Tensor]:
        """What a task owns of a teacher: every tensor."""
        return tensors_of(self)

    def frozen_copy(self) -> Backbone:
        """The same function up to rounding, to compute activations with: norms folded, in eval mode, nothing shared."""
        twin = copy.deepcopy(self)
        twin.stem, twin.head = frozen_copy(self.stem), frozen_copy(self.head)
        twin.blocks = nn.ModuleList(frozen_copy(block) for block in self.blocks)  # type: ignore[arg-type]
        return twin.requires_grad_(False).eval()

    def head_for(self, classes: int, copied: bool = False) -> fx.GraphModule:
        """The head with a classifier of its own for `classes` classes; the rest of it is shared unless `copied`."""
        head = copy.deepcopy(self.head) if copied else self.head
        fresh = {path: new_classifier(self.head.get_submodule(path), classes) for path in self.classifier_paths}
        return with_modules(head, fresh)

    def _headless_cost(self, x: Tensor) -> Cost:
        bare = with_modules(self.head, {path: _Free(self.head.get_submodule(path)) for path in self.classifier_paths})
        return measure(bare, x)

    def __repr__(self) -> str:
        cost = self.cost
        lines = [f"Backbone {self.name}: {cost.macs / 1e6:.1f} M MACs, {cost.params / 1e6:.2f} M parameters"]
        rows = zip(self.block_names, self.block_costs, self.shapes[1:], strict=True)
        lines.append(f"  stem {' ' * 17} -> {_show(self.shapes[0])}")
        for number, (name, block, shape) in enumerate(rows, 1):
            share = block.macs / cost.macs
            lines.append(f"  G_{number:<3} {name:<18} -> {_show(shape)}   {share:6.1%} of the MACs")
        return "\n".join(lines)


class _Free(nn.Module):
    """Gives answers of a classifier's shape at no cost, so that the rest of a head can be counted."""

    def __init__(self, classifier: nn.Module) -> None:
        super().__init__()
        self.is_linear = isinstance(classifier, nn.Linear)
        self.classes = int(classifier.weight.shape[0])  # type: ignore[union-attr, index]

    def forward(self, x: Tensor) -> Tensor:
        shape = (*x.shape[:-1], self.classes) if self.is_linear else (x.shape[0], self.classes, *x.shape[2:])
        return x.new_zeros(shape)


def _width(block: nn.Module, channels: int) -> int:
    """Channels of a block's own bottleneck: its narrowest convolution that looks beyond one pixel, or its output."""
    spatial = [part for part in block.modules() if isinstance(part, CONVOLUTION) and max(part.kernel_size) > 1]
    return min([channels, *(part.out_channels for part in spatial)])


def _show(shape: Shape) -> str:
    return f"{shape[0]:>4} x {shape[1]:>3} x {shape[2]:>3}"
