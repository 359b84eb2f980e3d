"""One task's modules over a backbone: what a student or a compact net is made of, and what that costs.

    Backbone, Plan, paths -> build_parts -> Parts(stem, blocks, proxies, head)    what is not the task's is shared

Students and compact nets are built by the same function, so that they agree and a delta reloads to the same bits.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import fx, nn

from blocks.adapters import add_low_rank, add_residual_adapters
from blocks.backbone import Backbone
from blocks.counting import Cost, count_macs, count_params, tensors_of
from blocks.norms import BatchNormPolicy, own_norms
from blocks.paths import Path
from blocks.proxies import AUTO, Proxy


@dataclass(frozen=True)
class Plan:
    """What a student is made of.

    Attributes:
        skips: k, how many activations back a layer's proxies reach; 0 for none.
        proxies: form of the proxies, a key of `blocks.proxies.FORMS`, or "auto": conv1x1, and a bottleneck where that would
            cost more than a tenth of the block.
        gates: kind of the gates, a key of `blocks.gates.KINDS`.
        batch_norm: who owns the backbone's batch norms, see `blocks.norms`.
        rank: of what the task adds to each dense convolution of the backbone, see `blocks.adapters`; 0 for nothing.
        adapters: residual adapters beside the backbone's larger convolutions: another method, to compare with.
    """

    skips: int = 3
    proxies: str = AUTO
    gates: str = "softmax"
    batch_norm: BatchNormPolicy = "source"
    rank: int = 0
    adapters: bool = False


@dataclass
class Parts:
    """One task's modules over a backbone: its own norms, proxies and classifier, everything else shared."""

    stem: fx.GraphModule
    blocks: dict[int, fx.GraphModule]
    proxies: dict[tuple[int, int], Proxy]
    head: fx.GraphModule
    norms: list[nn.Module]


def build_parts(
    backbone: Backbone, paths: list[Path], classes: int, policy: BatchNormPolicy, rank: int, adapters: bool = False
) -> Parts:
    """The modules that `paths` need; the one builder for students and compact nets, so that they agree."""

    def own(segment: fx.GraphModule) -> tuple[fx.GraphModule, list[nn.Module]]:
        ours, norms = own_norms(segment, policy)
        return add_low_rank(add_residual_adapters(ours) if adapters else ours, rank), norms

    stem, norms = own(backbone.stem)
    head, head_norms = own(backbone.head_for(classes))
    blocks: dict[int, fx.GraphModule] = {}
    proxies: dict[tuple[int, int], Proxy] = {}
    for path in paths:
        if path.is_universal:
            blocks[path.target], block_norms = own(backbone.blocks[path.target - 1])  # type: ignore[arg-type]
            norms += block_norms
        else:
            proxies[path.source, path.target] = Proxy(path.form, backbone.site(path.source, path.target))
    return Parts(stem, blocks, proxies, head, norms + head_norms)


def path_costs(backbone: Backbone, path: Path, module: nn.Module) -> Cost:
    """MACs of a path at the backbone's input size, and the parameters of the module that computes it.

    A block costs the MACs of the backbone's own: adding up a low-rank weight is no work per picture, `fold` does it once.
    """
    if path.is_universal:
        macs = backbone.block_costs[path.target - 1].macs
    else:
        macs = count_macs(module, torch.zeros(1, *backbone.shapes[path.source], device=_device(module)))
    return Cost(macs, count_params(tensors_of(module).values()))


def end_costs(backbone: Backbone, classes: int, stem: nn.Module, head: nn.Module) -> Cost:
    """MACs of stem and head with a classifier for `classes` classes, and the parameters of a task's own stem and head."""
    last = torch.zeros(1, *backbone.shapes[-1], device=_device(head))
    macs = backbone.stem_cost.macs + count_macs(backbone.head_for(classes).to(last.device), last)
    return Cost(macs, count_params([*tensors_of(stem).values(), *tensors_of(head).values()]))


def _device(module: nn.Module) -> torch.device:
    return next((tensor.device for tensor in tensors_of(module).values()), torch.device("cpu"))
