"""The representation h: what a backbone's classifier reads of a picture, one vector (B, d).

x_L -> head without its classifier -> h
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor, fx, nn

from blocks.backbone import Backbone
from blocks.top import TopError
from blocks.trace import with_modules


class _Flat(nn.Module):
    """(B, d, 1, 1), as a convolution reads it, to (B, d)."""

    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(1)


def representation(backbone: Backbone) -> fx.GraphModule:
    """The head up to its classifier, sharing the backbone's modules: (B, C, H, W) to h (B, d).

    Raises:
        TopError: the head has several classifiers, or its classifier reads no single vector, as where nothing is pooled.
    """
    if len(backbone.classifier_paths) != 1:
        raise TopError(f"{backbone.name} has {len(backbone.classifier_paths)} classifiers, which read no common vector")
    graph = copy.deepcopy(backbone.head.graph)
    (classifier,) = [node for node in graph.nodes if str(node.target) == backbone.classifier_paths[0]]
    (output,) = [node for node in graph.nodes if node.op == "output"]
    with graph.inserting_before(output):
        flat = graph.call_module("new_flat", (classifier.args[0],))
    output.args = (flat,)
    result = with_modules(fx.GraphModule(_with_flat(backbone.head), graph), {})
    result.graph.eliminate_dead_code()
    result.delete_all_unused_submodules()
    result.recompile()
    features = _try(result, backbone)
    if features != (1, backbone.features):
        raise TopError(
            f"the classifier of {backbone.name} reads no single vector of {backbone.features} numbers but {features[1:]}: "
            "a head that pools before it classifies is needed"
        )
    return result


def _with_flat(head: fx.GraphModule) -> nn.Module:
    """A module that has all of a head, the very objects, and `new_flat`."""
    root = nn.Module()
    for name, module in head.named_children():
        root.add_module(name, module)
    for name, value in (*head.named_parameters(recurse=False), *head.named_buffers(recurse=False)):
        setattr(root, name, value)
    root.add_module("new_flat", _Flat())
    return root


@torch.no_grad()
def _try(segment: fx.GraphModule, backbone: Backbone) -> tuple[int, ...]:
    """Shape of what it gives for one picture; the modes of its modules stay as they are."""
    modes = [(part, part.training) for part in segment.modules()]
    segment.eval()
    try:
        parameter = next(backbone.parameters())
        return tuple(segment(torch.zeros(1, *backbone.shapes[-1], device=parameter.device)).shape)
    finally:
        for part, mode in modes:
            part.training = mode
