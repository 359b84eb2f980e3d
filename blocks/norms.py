"""Who owns the norms of a frozen backbone: the backbone, or the task.

    policy     running statistics   scale and shift    while training
    source     the backbone's       the backbone's     statistics as they are
    stats      the task's           the backbone's     batch statistics, running ones follow the task's data
    affine     the task's           the task's         likewise, and scale and shift are trained

Every norm is meant: batch, instance, layer, group and RMS norms, torch's and the libraries' own (`layers.is_norm`). Where a
norm keeps no statistics (a layer norm, a frozen batch norm), `stats` has nothing to own in it; where it has no parameters,
`affine` owns its statistics alone.

A norm that the task owns is a module of its own in a copy of the segment's graph; every other module of the segment is
the backbone's own object, shared by all students.
"""

from __future__ import annotations

import copy
from typing import Literal, get_args

from torch import Tensor, fx, nn
from torch.nn.modules.batchnorm import _NormBase

from blocks.layer_types import is_norm
from blocks.trace import with_modules

BatchNormPolicy = Literal["source", "stats", "affine"]
POLICIES = get_args(BatchNormPolicy)


def own_norms(segment: fx.GraphModule, policy: BatchNormPolicy) -> tuple[fx.GraphModule, list[nn.Module]]:
    """A segment for one task under `policy`, and the norms in it that the task owns."""
    if policy not in POLICIES:
        raise ValueError(f"a batch-norm policy is one of {', '.join(POLICIES)}, not {policy!r}")
    replaced: dict[str, nn.Module] = {}
    owned: list[nn.Module] = []
    called = {str(node.target) for node in segment.graph.nodes if node.op == "call_module"}
    for path in sorted(called) if policy != "source" else ():
        module = segment.get_submodule(path)
        shared: dict[int, object] = {id(tensor): tensor for tensor in _tensors_left_shared(module, policy)}
        if len(shared) < len(_tensors(module)):
            replaced[path] = copy.deepcopy(module, shared)
            own = [part for part in replaced[path].modules() if is_norm(part) and _touched(part, policy)]
            for norm in own if policy == "affine" else ():
                norm.requires_grad_(True)
            owned += own
    return with_modules(segment, replaced), owned


def _tensors_left_shared(module: nn.Module, policy: BatchNormPolicy) -> list[Tensor]:
    """The tensors of a called module that stay the backbone's; it may be a norm, or hold some deeper down."""
    own = {id(tensor) for part in module.modules() if is_norm(part) for tensor in _touched(part, policy)}
    return [tensor for tensor in _tensors(module) if id(tensor) not in own]


def _touched(norm: nn.Module, policy: BatchNormPolicy) -> list[Tensor]:
    """What a task owns of a norm: statistics where they follow the data, and under `affine` its parameters."""
    follows = isinstance(norm, _NormBase) and norm.track_running_stats
    statistics = list(norm.buffers(recurse=False)) if follows else []
    return statistics + (list(norm.parameters(recurse=False)) if policy == "affine" else [])


def _tensors(module: nn.Module) -> list[Tensor]:
    return [*module.parameters(), *module.buffers()]
