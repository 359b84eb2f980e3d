"""The linear layers that stand in a backbone's head before its classifier: the top layers of an AlexNet or a VGG.

x_L -> pool, flatten -> fc6 -> ReLU -> fc7 -> ReLU -> classifier           linear_layers: ("classifier.1", "classifier.4")
"""

from __future__ import annotations

import torch
from torch import fx, nn
from torch.fx.passes.shape_prop import ShapeProp

from blocks.backbone import Backbone
from blocks.top import TopError
from blocks.trace import output_shape


def linear_layers(backbone: Backbone) -> tuple[str, ...]:
    """Paths in the head of the linear layers before the classifier, in the order in which they run."""
    head = backbone.head
    called = [str(node.target) for node in head.graph.nodes if node.op == "call_module"]
    return tuple(
        path
        for path in called
        if isinstance(head.get_submodule(path), nn.Linear) and path not in backbone.classifier_paths
    )


@torch.no_grad()
def check_top_layer(backbone: Backbone, features: fx.GraphModule) -> None:
    """See that something can be grown at the top: linear layers, or pooled positions.

    Args:
        features: the head without its classifier (`blocks.representation`).

    Raises:
        TopError: the head has neither; or a linear layer in it reads more than one vector a picture.
    """
    modes = [(part, part.training) for part in features.modules()]
    features.eval()
    try:
        x = torch.zeros(1, *backbone.shapes[-1], device=next(backbone.parameters()).device)
        ShapeProp(features).propagate(x)
    finally:
        for part, mode in modes:
            part.training = mode
    linear = linear_layers(backbone)
    for node in features.graph.nodes:
        shape = output_shape(node) or ()
        if node.op == "call_module" and node.target in linear and len(shape) != 2:
            raise TopError(f"{node.target} in the head of {backbone.name} reads no single vector")
        before = output_shape(node.all_input_nodes[0]) or () if node.all_input_nodes else ()
        if not linear and _flattens(before, shape):
            raise TopError(
                f"the head of {backbone.name} neither pools positions nor has linear layers before its classifier: "
                "nothing can be grown beside it"
            )


def _flattens(before: tuple[int, ...], after: tuple[int, ...]) -> bool:
    """Whether an operation makes one vector of the channels at several positions."""
    return len(before) == 4 and before[2] * before[3] > 1 and after == (before[0], before[1] * before[2] * before[3])
