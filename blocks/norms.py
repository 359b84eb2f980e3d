"""Who owns the batch norms of a frozen backbone: the backbone, or the task.

    policy     running statistics   scale and shift    while training
    source     the backbone's       the backbone's     statistics as they are
    stats      the task's           the backbone's     batch statistics, running ones follow the task's data
    affine     the task's           the task's         likewise, and scale and shift are trained

A norm that the task owns is a module of its own in a copy of the segment's graph; every other module of the segment is
the backbone's own object, shared by all students.
"""

from __future__ import annotations

import copy
from typing import Literal, get_args

from torch import fx, nn
from torch.nn.modules.batchnorm import _BatchNorm

from blocks.trace import with_modules

BatchNormPolicy = Literal["source", "stats", "affine"]
POLICIES = get_args(BatchNormPolicy)


def norms_of(segment: fx.GraphModule) -> dict[str, nn.Module]:
    """The batch norms that a segment calls, by their path in it."""
    called = {str(node.target) for node in segment.graph.nodes if node.op == "call_module"}
    modules = {path: segment.get_submodule(path) for path in sorted(called)}
    return {path: module for path, module in modules.items() if isinstance(module, _BatchNorm)}


def own_norms(segment: fx.GraphModule, policy: BatchNormPolicy) -> tuple[fx.GraphModule, list[nn.Module]]:
    """A segment for one task under `policy`, and the norms in it that the task owns."""
    if policy not in POLICIES:
        raise ValueError(f"a batch-norm policy is one of {', '.join(POLICIES)}, not {policy!r}")
    if policy == "source":
        return with_modules(segment, {}), []
    owned = {path: _task_norm(norm, policy) for path, norm in norms_of(segment).items()}
    return with_modules(segment, owned), list(owned.values())


def _task_norm(norm: nn.Module, policy: BatchNormPolicy) -> nn.Module:
    own = copy.deepcopy(norm)
    for name, parameter in norm.named_parameters():
        if policy == "stats":
            setattr(own, name, parameter)  # the backbone's own object: shared, frozen, and not counted as the task's
        else:
            own.get_parameter(name).requires_grad_(True)
    return own
