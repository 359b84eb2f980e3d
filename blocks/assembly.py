"""One task's modules over a backbone: what a student or a compact net is made of, and what that costs.

    Backbone, Plan, paths -> build_parts -> Parts(stem, blocks, proxies, head)    what is not the task's is shared

Students and compact nets are built by the same function, so that they agree and a delta reloads to the same bits.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch
from torch import Tensor, fx, nn

from blocks.adapters import add_low_rank, add_residual_adapters, merged_copy
from blocks.backbone import Backbone
from blocks.counting import Cost, count_macs, count_params, params_of, tensors_of
from blocks.norms import BatchNormPolicy, own_norms
from blocks.paths import Path
from blocks.proxies import AUTO, Proxy
from blocks.top import Top
from blocks.trace import trace_plain

HeadKind = Literal["backbone", "pooled"]
HEADS = get_args(HeadKind)


@dataclass(frozen=True)
class Plan:
    """What a student is made of.

    Attributes:
        skips: k, how many activations back a layer's proxies reach; 0 for none.
        proxies: form of the proxies, a key of `blocks.proxies.FORMS`, or one of the words there for a form that is chosen
            path by path: "auto", "pointwise", "by_block".
        gates: kind of the gates, a key of `blocks.gates.KINDS`.
        batch_norm: who owns the backbone's batch norms, see `blocks.norms`.
        rank: of what the task adds to each dense convolution of the backbone, see `blocks.adapters`; 0 for nothing.
        adapters: residual adapters beside the backbone's larger convolutions: another method, to compare with.
        shared_prefix: n > 0: stem and blocks 1..n stay the backbone's own, as in `NetPlan`, so that tasks can share them.
    """

    skips: int = 3
    proxies: str = AUTO
    gates: str = "softmax"
    batch_norm: BatchNormPolicy = "source"
    rank: int = 0
    adapters: bool = False
    shared_prefix: int = 0


class PrefixError(ValueError):
    """A shared prefix that a network can't have."""


@dataclass(frozen=True)
class NetPlan:
    """How a network that only answers is put together over a backbone: all that a delta has to say beside its tensors.

    Attributes:
        paths: kept paths; every source must be x_0 or the target of another, and the last layer must be a target.
        classes: of the classifier.
        batch_norm, rank, adapters: as in `Plan`.
        copied: tensors are the task's own: a network that was trained as a whole, or from a layer up.
        tuned_from: of a copied net, the first layer whose tensors are its own: 0 the stem, and so every tensor; l block l;
            L + 1 the head; L + 2 only what the backbone does not have. What is below is the backbone's, as it is.
        head: the backbone's own with a new classifier, or "pooled": the mean over positions and a linear layer, for a network
            that ends before the backbone does.
        gated: whether paths have weights; without them every path counts fully.
        widths: layers with fewer channels than the backbone's, by name (`blocks.narrow`); of a copied net without proxies.
        shared_prefix: n > 0: stem and blocks 1..n are the backbone's own, and each of these layers is its block alone, of
            weight 1. What they compute is the same for every task. With 0 nothing is promised.
        top: what stands in the place of the head (`blocks.top`); None for `head`.

    Raises:
        PrefixError: the paths are not those of such a prefix, or every tensor is the task's own.
    """

    paths: tuple[Path, ...]
    classes: int
    batch_norm: BatchNormPolicy = "source"
    rank: int = 0
    adapters: bool = False
    copied: bool = False
    head: HeadKind = "backbone"
    gated: bool = True
    widths: tuple[tuple[str, tuple[int, ...]], ...] = ()
    shared_prefix: int = 0
    tuned_from: int = 0
    top: Top | None = None

    def __post_init__(self) -> None:
        shared = range(1, self.shared_prefix + 1)
        if shared and self.copied:
            raise PrefixError("a network that owns every tensor has no blocks to share")
        if self.tuned_from and not self.copied:
            raise ValueError("only a copied net is tuned from some layer on")
        into = [path for path in self.paths if path.target in shared]
        if sorted(path.target for path in into) != list(shared) or not all(path.is_universal for path in into):
            raise PrefixError(f"layers 1 to {self.shared_prefix} are not their universal blocks alone")

    @property
    def depth(self) -> int:
        """The last layer, whose activation the head reads."""
        return max((path.target for path in self.paths), default=0)

    @property
    def copied_from(self) -> int | None:
        """From which layer on (0 the stem, l block l) all are the task's own copies; None where they are the backbone's."""
        return self.tuned_from if self.copied and self.tuned_from <= self.depth else None

    @property
    def keeps_source_classifier(self) -> bool:
        """Whether it computes with the backbone's own classification layer: its top, which stands on all blocks, reads it,
        and it is not tuned."""
        return self.top is not None and self.top.keeps_source_classifier and self.tuned_from > self.depth + 1


class PooledHead(nn.Module):
    """Mean over positions and a linear layer: (B, C, H, W) to (B, classes)."""

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        self.classifier = nn.Linear(channels, classes)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.classifier(x.mean((2, 3)))
        return logits


@dataclass
class Parts:
    """One task's modules over a backbone: its own norms, proxies and classifier, everything else shared."""

    stem: fx.GraphModule
    blocks: dict[int, fx.GraphModule]
    acts: dict[int, nn.Module]
    proxies: dict[tuple[int, int], Proxy]
    head: fx.GraphModule
    norms: list[nn.Module]


def build_parts(backbone: Backbone, plan: NetPlan) -> Parts:
    """The modules that a plan's paths need; the one builder for students and compact nets, so that they agree."""

    def own(segment: fx.GraphModule, layer: int) -> tuple[fx.GraphModule, list[nn.Module]]:
        if layer <= plan.shared_prefix and plan.shared_prefix:
            return own_norms(segment, "source")
        ours, norms = own_norms(segment, plan.batch_norm)
        return add_low_rank(add_residual_adapters(ours) if plan.adapters else ours, plan.rank), norms

    if plan.copied:
        backbone = copied_from(backbone, plan.tuned_from)
    stem, norms = own(backbone.stem, 0)
    head, head_norms = own(_head(backbone, plan), backbone.depth + 1)
    blocks: dict[int, fx.GraphModule] = {}
    proxies: dict[tuple[int, int], Proxy] = {}
    for path in plan.paths:
        if path.is_universal:
            blocks[path.target], block_norms = own(backbone.blocks[path.target - 1], path.target)  # type: ignore[arg-type]
            norms += block_norms
        else:
            proxies[path.source, path.target] = Proxy(path.form, backbone.site(path.source, path.target, plan.rank))
    acts = {path.target: backbone.acts[path.target - 1] for path in plan.paths}
    return Parts(stem, blocks, acts, proxies, head, norms + head_norms)


def copied_from(backbone: Backbone, layer: int) -> Backbone:
    """A copy of a backbone that has the modules below a layer in common with it (`NetPlan.tuned_from`)."""
    memo: dict[int, Any] = {}
    for part in backbone.parts_below(layer):
        memo |= {id(module): module for module in part.modules()}
        memo |= {id(tensor): tensor for tensor in (*part.parameters(), *part.buffers())}
    return copy.deepcopy(backbone, memo)


def head_reads(backbone: Backbone, plan: NetPlan) -> tuple[int, ...]:
    """The activations that a plan's head or top is given, in this order."""
    return (plan.depth,) if plan.top is None else plan.top.reads(backbone)


def _head(backbone: Backbone, plan: NetPlan) -> fx.GraphModule:
    if plan.top is not None:
        return plan.top.build(backbone, plan.classes)
    if plan.head == "backbone":
        return backbone.head_for(plan.classes)
    return trace_plain(PooledHead(backbone.shapes[plan.depth][0], plan.classes))


def path_costs(backbone: Backbone, path: Path, module: nn.Module) -> Cost:
    """MACs of a path at the backbone's input size, and the parameters of the module that computes it.

    Adding up a low-rank weight is no work per picture, `fold` does it once: a block costs the MACs of the backbone's own,
    and a proxy those with its kernels added up.
    """
    if path.is_universal:
        macs = backbone.block_costs[path.target - 1].macs
    else:
        macs = count_macs(merged_copy(module), torch.zeros(1, *backbone.shapes[path.source], device=_device(module)))
    return Cost(macs, params_of([module]))


def end_costs(backbone: Backbone, plan: NetPlan, stem: nn.Module, head: nn.Module) -> Cost:
    """MACs of stem and head of a plan, low-rank weights added up already, and the parameters of these two modules."""
    # A head is its backbone's but for the classifier: sent elsewhere, it would take what they share along.
    device = _device(backbone)
    read = [torch.zeros(1, *backbone.shapes[layer], device=device) for layer in head_reads(backbone, plan)]
    macs = backbone.stem_cost.macs + count_macs(_head(backbone, plan).to(device), *read)
    return Cost(macs, count_params([*tensors_of(stem).values(), *tensors_of(head).values()]))


def _device(module: nn.Module) -> torch.device:
    return next((tensor.device for tensor in tensors_of(module).values()), torch.device("cpu"))
