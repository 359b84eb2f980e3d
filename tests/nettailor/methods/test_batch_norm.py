"""Batch-norm tuning: what it owns beyond a linear probe is every norm, and nothing but norms."""

from __future__ import annotations

from torch import nn

from blocks import Backbone, TailoredNet
from nettailor.methods import linear
from nettailor.methods.batch_norm import METHOD


def test_every_norm_is_the_tasks_with_statistics_scale_and_shift(backbone: Backbone) -> None:
    net, probe = (TailoredNet(backbone, 5, plan) for plan in (METHOD.plan, linear.METHOD.plan))
    more = net.task_tensors().keys() - probe.task_tensors().keys()
    norms = [module for module in backbone.modules() if isinstance(module, nn.BatchNorm2d)]
    kinds = [name.rsplit(".", 1)[-1] for name in more]
    counts = {kind: kinds.count(kind) for kind in set(kinds) - {"num_batches_tracked"}}
    assert counts == dict.fromkeys(("weight", "bias", "running_mean", "running_var"), len(norms))
    added = sum(p.numel() for p in net.trained_parameters()) - sum(p.numel() for p in probe.trained_parameters())
    assert added == 2 * sum(norm.num_features for norm in norms)
