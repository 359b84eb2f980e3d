"""Pruning by channels with Torch-Pruning (Fang et al., "DepGraph", CVPR 2023): what the block graph is compared with.

    net, importance -> ChannelPruner -> shrink_to(MACs): the least important channels of all layers go first, in place

Channels that hang together (through residual additions, norms, depthwise convolutions) go together, in groups that
Torch-Pruning finds, and every group loses the same part of its channels: with all groups ranked together single layers lose
so many that training doesn't bring back what went. Classifiers keep their outputs.

The network then computes with channels first: with any number of channels last, convolutions on the CPU overwrite memory
that is not theirs when gradients are computed (seen with torch 2.15, oneDNN; training of a pruned network ends in a crash).
"""

from __future__ import annotations

import importlib.util
from typing import Any, Literal

import torch

from blocks import Backbone
from blocks.counting import count_macs
from nettailor.errors import UsageError

ChannelImportance = Literal["group_norm", "magnitude"]
STEPS = 400  # a step takes about so many a part of all channels, so that a wanted size is met within a percent
LARGEST_PART = 0.95  # of a layer's channels that may go


def need_torch_pruning(method: str) -> None:
    """Refuse where Torch-Pruning is not installed.

    Raises:
        UsageError: it is not.
    """
    if importlib.util.find_spec("torch_pruning") is None:
        raise UsageError(f'{method}: needs Torch-Pruning; pip install "nettailor[bench]"')


class ChannelPruner:
    """Removes channels from a network, which has to be trainable, in place.

    Args:
        importance: of a channel: `group_norm`, the L2 norm over all of its group's tensors; or `magnitude`, the L1 norm of
            the filter alone that makes it (Li et al. 2017).
    """

    def __init__(self, net: Backbone, importance: ChannelImportance) -> None:
        import torch_pruning

        measures: dict[str, dict[str, Any]] = {
            "group_norm": {"p": 2, "group_reduction": "mean"},
            "magnitude": {"p": 1, "group_reduction": "first"},
        }
        self._net = net.eval()
        net.register_forward_pre_hook(lambda _, given: (given[0].contiguous(memory_format=torch.contiguous_format),))
        self._example = torch.zeros(1, 3, net.spec.size, net.spec.size, device=next(net.parameters()).device)
        self._pruner = torch_pruning.pruner.BasePruner(
            net,
            self._example,
            torch_pruning.importance.GroupMagnitudeImportance(**measures[importance]),
            pruning_ratio=1.0,
            max_pruning_ratio=LARGEST_PART,
            iterative_steps=STEPS,
            ignored_layers=[net.head.get_submodule(path) for path in net.classifier_paths],
            in_channel_groups={},
            out_channel_groups={},
        )

    @property
    def macs(self) -> int:
        """Of one picture, as the network is now."""
        return count_macs(self._net, self._example)

    def shrink_to(self, macs: float) -> int:
        """Remove channels until at most so many MACs are left, or no layer can lose more; returns what is left."""
        self._net.eval()
        while (left := self.macs) > macs and self._pruner.current_step < STEPS:
            self._pruner.step()
        self._net.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
        for parameter in self._net.parameters():
            parameter.grad = None  # of the shape before
        return left
