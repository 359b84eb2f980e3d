"""Passes over a graph of operations that does not train: norms into convolutions, activations in place.

    convolution -> batch norm -> activation        becomes        convolution with a bias -> activation in place

The graph's modules are replaced or changed, so callers hand over copies (`frozen_copy`).
"""

from __future__ import annotations

import copy
import operator
from collections import Counter

import torch
from torch import fx, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils.fusion import fuse_conv_bn_eval

from blocks.layer_types import CONVOLUTION, is_activation, is_plain_batch_norm, is_plain_convolution

ADDITIONS = (operator.add, operator.iadd, torch.add)


def frozen_copy(segment: fx.GraphModule) -> fx.GraphModule:
    """A segment for computing only: in eval mode, its norms folded; the segment itself is left as it is.

    Gradients flow through it to its input, and its values are the segment's up to rounding.
    """
    copied = copy.deepcopy(segment).requires_grad_(False).eval()
    fold_norms(copied)
    copied.delete_all_unused_submodules()
    copied.recompile()
    return copied


def fold_norms(net: fx.GraphModule) -> None:
    """Put every batch norm that follows a convolution of its own into that convolution."""
    calls = Counter(node.target for node in net.graph.nodes if node.op == "call_module")
    for node in list(net.graph.nodes):
        norm, before = called(net, node), node.args[0] if node.args else None
        if not is_plain_batch_norm(norm) or not isinstance(before, fx.Node):
            continue
        convolution = called(net, before)
        if not is_plain_convolution(convolution) or len(before.users) > 1 or calls[before.target] > 1:
            continue  # somebody else reads the convolution, or calls it with other pictures
        _replace(net, before, fuse_conv_bn_eval(convolution, _plain(norm)))
        act = getattr(norm, "act", None)  # timm's BatchNormAct2d: the activation stays
        if isinstance(act, nn.Module) and not isinstance(act, nn.Identity):
            _replace(net, node, copy.deepcopy(act))
        else:
            node.replace_all_uses_with(before)
            net.graph.erase_node(node)


def _replace(net: fx.GraphModule, node: fx.Node, module: nn.Module) -> None:
    """Let a node call another module, in the place of the old one."""
    parent, _, name = str(node.target).rpartition(".")
    setattr(net.get_submodule(parent), name, module)


def _plain(norm: _BatchNorm) -> nn.BatchNorm2d:
    """The normalisation alone of a batch norm that does more."""
    mean = norm.running_mean
    assert mean is not None  # `is_plain_batch_norm`
    plain = nn.BatchNorm2d(norm.num_features, norm.eps, affine=norm.affine, device=mean.device, dtype=mean.dtype)
    plain.load_state_dict({name: tensor for name, tensor in norm.state_dict().items() if name in plain.state_dict()})
    return plain.eval()


def activate_in_place(net: fx.GraphModule) -> None:
    """Let an activation overwrite what nobody else reads; a fresh tensor for every one costs time."""
    for node in net.graph.nodes:
        module = called(net, node)
        if module is None or not is_activation(module) or not hasattr(module, "inplace"):
            continue
        (source,) = node.args
        own = called(net, source)
        fresh = isinstance(own, CONVOLUTION) or source.target in ADDITIONS
        if fresh and len(source.users) == 1:
            module.inplace = True  # type: ignore[assignment]


def called(net: fx.GraphModule, node: object) -> nn.Module | None:
    """The module that a node calls, if it calls one."""
    if isinstance(node, fx.Node) and node.op == "call_module":
        return net.get_submodule(str(node.target))
    return None
