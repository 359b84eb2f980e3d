"""A top that keeps the backbone's source classifier, and new layers on what it says.

    h -> W_s h + b_s = z -> N -> v_0 -> [A_i, ReLU, N] x n -> v_n -> C -> logits

After the idea of Shermin et al. (2019), whose formulas are not known here: N, the widths and the start are ours. `dropped`
(z = h) and `random` (a layer of the same shape with new weights) are its controls.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal, get_args

import torch
from torch import fx, nn

from blocks.representation import representation
from blocks.scaled_norm import ScaledNorm
from blocks.top import register
from blocks.trace import with_modules

if TYPE_CHECKING:
    from blocks.backbone import Backbone

Norm = Literal["l2", "batch", "none"]
Source = Literal["kept", "dropped", "random"]
MOST_LAYERS = 3
SMALL = 0.01
"""Deviation of the new classifier's first weights."""


@register
@dataclass(frozen=True)
class KeptClassifier:
    """The source classifier and new layers on it.

    Attributes:
        layers: n, new hidden layers between z and the new classifier, each as wide as h; 0 to 3.
        norm: N: `l2` with a factor per channel, `batch` norm, or `none`.
        classifier: where z comes from: the backbone's own layer, h itself, or a new layer of the same shape.

    Raises:
        ValueError: a field is none of these.
    """

    layers: int = 1
    norm: Norm = "l2"
    classifier: Source = "kept"

    kind: ClassVar[str] = "kept_classifier"

    def __post_init__(self) -> None:
        if not 0 <= self.layers <= MOST_LAYERS:
            raise ValueError(f"layers: are 0 to {MOST_LAYERS}, but there are {self.layers}")
        for value, known in ((self.norm, get_args(Norm)), (self.classifier, get_args(Source))):
            if value not in known:
                raise ValueError(f"{value!r} is none of {', '.join(known)}")

    @property
    def keeps_source_classifier(self) -> bool:
        """Whether it computes with the backbone's own classification layer."""
        return self.classifier == "kept"

    def describe(self, backbone: Backbone) -> str:
        """It in one line."""
        said = {
            "kept": f"source classifier of {backbone.classes} classes kept",
            "dropped": "source classifier dropped",
            "random": f"random layer in place of the source classifier of {backbone.classes} classes",
        }
        layers = f"{self.layers} new hidden layer{'s' * (self.layers != 1)} of {backbone.features}"
        return f"{said[self.classifier]}, {layers if self.layers else 'no hidden layer'}, norm {self.norm}"

    def reads(self, backbone: Backbone) -> tuple[int, ...]:
        """x_L alone."""
        return (backbone.depth,)

    def build(self, backbone: Backbone, classes: int) -> fx.GraphModule:
        """x_L (B, C, H, W) to logits (B, classes).

        Raises:
            TopError: no single classifier reads one vector of each picture.
        """
        representation(backbone)
        graph, new = copy.deepcopy(backbone.head.graph), self._new_modules(backbone, classes)
        (old,) = [node for node in graph.nodes if str(node.target) == backbone.classifier_paths[0]]
        (output,) = [node for node in graph.nodes if node.op == "output"]
        if self.classifier == "random":
            old.target = "new_source"
        with graph.inserting_before(output):
            z = old.args[0] if self.classifier == "dropped" else old
            v = graph.call_module("new_flat", (z,))
            for name in new:
                if name.startswith("new_layer"):
                    v = graph.call_function(torch.relu, (graph.call_module(name, (v,)),))
                elif name not in ("new_flat", "new_source"):
                    v = graph.call_module(name, (v,))
        output.args = (v,)
        result = with_modules(fx.GraphModule(_together(backbone.head, new), graph), {})
        result.graph.eliminate_dead_code()
        result.delete_all_unused_submodules()
        result.recompile()
        return result

    def _new_modules(self, backbone: Backbone, classes: int) -> dict[str, nn.Module]:
        """All that it adds, by name, in the order in which it runs."""
        features = backbone.features
        width = features if self.classifier == "dropped" else backbone.classes
        new: dict[str, nn.Module] = {}
        if self.classifier == "random":
            new["new_source"] = _same_shape(backbone.head.get_submodule(backbone.classifier_paths[0]))
        new["new_flat"] = nn.Flatten(1)
        new |= self._norm(0, width)
        for number in range(1, self.layers + 1):
            new[f"new_layer{number}"] = _hidden(width, features)
            new |= self._norm(number, features)
            width = features
        new["new_classifier"] = nn.Linear(width, classes)
        nn.init.normal_(new["new_classifier"].weight, std=SMALL)  # type: ignore[arg-type]
        nn.init.zeros_(new["new_classifier"].bias)  # type: ignore[arg-type]
        return new

    def _norm(self, number: int, channels: int) -> dict[str, nn.Module]:
        if self.norm == "none":
            return {}
        return {f"new_norm{number}": ScaledNorm(channels) if self.norm == "l2" else nn.BatchNorm1d(channels)}


def _hidden(width: int, channels: int) -> nn.Linear:
    """He's normal start, for the ReLU behind it."""
    layer = nn.Linear(width, channels)
    nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
    nn.init.zeros_(layer.bias)
    return layer


def _same_shape(classifier: nn.Module) -> nn.Module:
    """A layer of a classifier's kind and shape with new weights; no ReLU follows it."""
    if isinstance(classifier, nn.Conv2d):
        layer: nn.Conv2d | nn.Linear = nn.Conv2d(classifier.in_channels, classifier.out_channels, 1)
    else:
        layer = nn.Linear(classifier.in_features, classifier.out_features)  # type: ignore[arg-type]
    nn.init.kaiming_normal_(layer.weight, nonlinearity="linear")
    nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
    return layer


def _together(head: fx.GraphModule, new: dict[str, nn.Module]) -> nn.Module:
    """A module that has all of a head, the very objects, and what is new."""
    root = nn.Module()
    for name, module in (*head.named_children(), *new.items()):
        root.add_module(name, module)
    for name, value in (*head.named_parameters(recurse=False), *head.named_buffers(recurse=False)):
        setattr(root, name, value)
    return root
