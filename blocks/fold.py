"""The folded net: a network as one plain graph that answers fast.

    Backbone, TailoredNet, CompactNet, ShallowNet -> wiring -> fold -> fx.GraphModule
    the same, between two activations -> fold_span -> fx.GraphModule
    stem, block, head or proxy -> fold_part -> fx.GraphModule                    what a compact net runs of it

Each is a copy: it shares nothing with the network, and nothing in it trains. All networks are folded by the same steps, so
a teacher and a compact net that keeps everything become the same graph and take the same time.

    convolution, low-rank weights         one convolution
    convolution, batch norm               one convolution with a bias
    gate * (convolution + shortcut)       a scaled convolution, and an addition that scales the shortcut as it adds it
    proxies of one source and resolution  resampled once, and their 1x1 convolutions computed as one
    activation of a fresh sum             in place

The logits are the network's up to rounding (tests hold them to 1e-4 of their range). What has no closed form stays as
it is: a norm behind no convolution, a gate before an activation.
"""

from __future__ import annotations

import copy
import operator
from collections import defaultdict
from dataclasses import dataclass

import torch
from torch import Tensor, fx, nn

from blocks.adapters import Adapted
from blocks.fuse import ADDITIONS, activate_in_place, called, fold_norms
from blocks.layer_types import is_plain_convolution
from blocks.proxies import Proxy
from blocks.wiring import Wired, Wiring

GATE = "gate"  # in a node's meta: it multiplies by a constant that may move into what is before it
PROXY = "proxy"  # in a node's meta: a proxy's own layer


def fold(net: Wired, join_proxies: bool = True) -> fx.GraphModule:
    """A network as one graph of operations, with everything folded that can be.

    Args:
        join_proxies: compute proxies that read the same tensor as one convolution. It is faster in torch and slower in
            runtimes that fuse what follows a convolution into it, which they can't where its channels are handed out.

    Returns:
        A module in eval mode: pictures (B, 3, H, W) to logits (B, classes).
    """
    return _fold(_assemble(net.wiring()), join_proxies)


@dataclass(frozen=True)
class Span:
    """A part of a network.

    Attributes:
        first: it begins after this layer; None: at the picture, with the stem.
        last: it ends with this layer; None: with the head.
        given: numbers of the activations that it is given, in this order; none where it begins at the picture.
        wanted: numbers of the activations that it computes and gives, in this order; none where it ends with the head.
    """

    first: int | None = None
    last: int | None = None
    given: tuple[int, ...] = ()
    wanted: tuple[int, ...] = ()

    def holds(self, layer: int) -> bool:
        """Whether a layer is in it."""
        return (self.first is None or layer > self.first) and (self.last is None or layer <= self.last)


def fold_span(net: Wired, span: Span) -> fx.GraphModule:
    """A part of a network, folded as the whole is, so that what networks have in common can be computed once.

    Returns:
        A module in eval mode: the picture (B, 3, H, W), or the activations `given`, to a tuple of those that are `wanted`, or
        to the logits.
    """
    return _fold(_assemble(net.wiring(), span))


def fold_part(module: fx.GraphModule | Proxy, act: nn.Module | None = None) -> fx.GraphModule:
    """A stem, a block with its activation, a head or a proxy by itself, folded as it is in a folded network."""
    parts = _Parts()
    x = parts.graph.placeholder("x")
    out = parts.proxy("proxy", module, 0, x) if isinstance(module, Proxy) else parts.inline("part", module, x)
    parts.graph.output(out if act is None else parts.apply("act", act, out))
    return _fold(fx.GraphModule(parts.modules, parts.graph))


def _fold(graph: fx.GraphModule, join_proxies: bool = True) -> fx.GraphModule:
    """All passes over a graph that owns its modules."""
    fold_norms(graph)
    _fold_gates(graph)
    if join_proxies:
        _join_pointwise(graph)
    activate_in_place(graph)
    graph.graph.eliminate_dead_code()
    graph.graph.lint()
    graph.delete_all_unused_submodules()
    graph.recompile()
    return graph.requires_grad_(False).eval()


def _assemble(wiring: Wiring, span: Span | None = None) -> fx.GraphModule:
    """Stem, paths, mixtures and head in one graph over copies of their modules; of a span, what is in it."""
    parts, span = _Parts(), span or Span()
    if span.first is None:
        xs = {0: parts.inline("stem", wiring.stem, parts.graph.placeholder("x"))}
    else:
        xs = {number: parts.graph.placeholder(f"x{number}") for number in span.given}
    for layer, mixture in wiring.layers.items():
        if not span.holds(layer):
            continue
        total: fx.Node | None = None
        for term in mixture.terms:
            if isinstance(term.module, Proxy):
                out = parts.proxy(f"proxy{term.source}_{layer}", term.module, term.source, xs[term.source])
            else:
                out = parts.inline(f"block{layer}", term.module, xs[term.source])
            if term.weight != 1:
                out = parts.graph.call_function(operator.mul, (out, term.weight))
                out.meta[GATE] = True
            total = out if total is None else parts.graph.call_function(torch.add, (total, out))
        assert total is not None
        xs[layer] = parts.apply(f"act{layer}", mixture.act, total)
    if span.last is None:
        read = wiring.head_reads or (max(wiring.layers),)
        parts.graph.output(parts.inline("head", wiring.head, *(xs[number] for number in read)))
    else:
        parts.graph.output(tuple(xs[number] for number in span.wanted))
    return fx.GraphModule(parts.modules, parts.graph)


class _Parts:
    """A graph that grows, and copies of the modules that its nodes call."""

    def __init__(self) -> None:
        self.graph = fx.Graph()
        self.modules: dict[str, nn.Module | Tensor] = {}
        self._resampled: dict[tuple[int, tuple[int, int]], fx.Node] = {}

    def inline(self, prefix: str, segment: fx.GraphModule, *xs: fx.Node) -> fx.Node:
        """Add all operations of a segment that reads `xs`, in this order; returns the node of its output."""
        copies: dict[fx.Node, fx.Node] = {}
        given = iter(xs)
        for node in segment.graph.nodes:
            if node.op == "placeholder":
                copies[node] = next(given)
            elif node.op == "output":
                return copies[node.args[0]]
            elif node.op == "call_module":
                copies[node] = self.call(
                    f"{prefix}_{node.target.replace('.', '_')}",
                    segment.get_submodule(node.target),
                    *fx.map_arg(node.args, copies.__getitem__),
                    **fx.map_arg(node.kwargs, copies.__getitem__),
                )
            else:
                copies[node] = self.graph.node_copy(node, copies.__getitem__)
                if node.op == "get_attr":
                    name = f"{prefix}_{node.target.replace('.', '_')}"
                    self.modules[name] = operator.attrgetter(node.target)(segment).detach().clone()
                    copies[node].target = name
        raise ValueError("a segment without an output")

    def apply(self, name: str, module: nn.Module, x: fx.Node) -> fx.Node:
        """Add what a module computes: the operations of a segment, as for a block's activation, or a call."""
        return self.inline(name, module, x) if isinstance(module, fx.GraphModule) else self.call(name, module, x)

    def call(self, name: str, module: nn.Module, *inputs: fx.Node, **options: object) -> fx.Node:
        """Call a copy of a module; what does nothing in eval mode is left out."""
        if isinstance(module, (nn.Identity, nn.Dropout)):
            return inputs[0]
        while name in self.modules:
            name += "_again"  # a module that is called several times: each call has a copy, whose weights may be scaled
        plain = module.merged() if isinstance(module, Adapted) else copy.deepcopy(module)
        self.modules[name] = plain.eval()
        return self.graph.call_module(name, inputs, options)  # type: ignore[arg-type]

    def proxy(self, name: str, module: Proxy, source: int, x: fx.Node) -> fx.Node:
        """Resample once for each source and resolution, then the transform, layer by layer where it is a sequence."""
        place = source, module.resolution
        if place not in self._resampled:
            self._resampled[place] = self.call(f"resample{source}_{module.resolution[0]}", module.resample, x)
        out = self._resampled[place]
        steps = module.transform if isinstance(module.transform, nn.Sequential) else [module.transform]
        for number, step in enumerate(steps):
            out = self.call(f"{name}_{number}", step, out)
            out.meta[PROXY] = True
        return self.graph.call_function(torch.add, (out, self._resampled[place])) if module.adds_input else out


def _fold_gates(net: fx.GraphModule) -> None:
    """Move the factor of every gated path into the convolutions that end it."""
    for node in [node for node in net.graph.nodes if GATE in node.meta]:
        path, factor = node.args
        scaled = _scaled(net, path, factor, node)
        if scaled is not None:
            node.replace_all_uses_with(scaled)
            net.graph.erase_node(node)


def _scaled(net: fx.GraphModule, node: fx.Node, factor: float, user: fx.Node) -> fx.Node | None:
    """A node that gives `factor` times what `node` gives, without a multiplication; None where there is none.

    Args:
        user: the only reader of `node`; another one would see the scaled values too.
    """
    if set(node.users) != {user}:
        return None
    module = called(net, node)
    if is_plain_convolution(module):
        with torch.no_grad():
            module.weight.mul_(factor)
            if module.bias is not None:
                module.bias.mul_(factor)
        return node
    if node.op == "call_function" and node.target in ADDITIONS and len(node.args) == 2 and not node.kwargs:
        return _scaled_sum(net, node, factor)
    return None


def _scaled_sum(net: fx.GraphModule, node: fx.Node, factor: float) -> fx.Node | None:
    """An addition scaled on both sides; the side that has no weights is scaled while it is added."""
    one, other = node.args
    if not isinstance(one, fx.Node) or not isinstance(other, fx.Node) or one is other:
        return None
    left = _scaled(net, one, factor, node)
    if left is None:
        one, other = other, one
        left = _scaled(net, one, factor, node)
        if left is None:
            return None
    right = _scaled(net, other, factor, node)
    node.target = torch.add
    node.args = (left, right if right is not None else other)
    node.kwargs = {} if right is not None else {"alpha": factor}
    return node


def _join_pointwise(net: fx.GraphModule) -> None:
    """Compute the 1x1 convolutions of proxies that read the same tensor as one, and hand out its channels."""
    readers: dict[fx.Node, list[fx.Node]] = defaultdict(list)
    for node in net.graph.nodes:
        if PROXY in node.meta and _is_pointwise(called(net, node)):
            readers[node.args[0]].append(node)
    for members in readers.values():
        if len(members) < 2:
            continue
        convolutions: list[nn.Conv2d] = [called(net, node) for node in members]  # type: ignore[misc]
        name = "joined_" + "_".join(str(node.target).removeprefix("proxy") for node in members)
        net.add_submodule(name, _joined(convolutions))
        first = min(members, key=list(net.graph.nodes).index)
        with net.graph.inserting_before(first):
            whole = net.graph.call_module(name, first.args)
            sizes = [convolution.out_channels for convolution in convolutions]
            pieces = net.graph.call_function(torch.split, (whole, sizes, 1))
            own = [net.graph.call_function(operator.getitem, (pieces, index)) for index in range(len(members))]
        for node, piece in zip(members, own, strict=True):
            node.replace_all_uses_with(piece)
            net.graph.erase_node(node)


def _is_pointwise(module: nn.Module | None) -> bool:
    return (
        is_plain_convolution(module)
        and module.kernel_size == module.stride == (1, 1)
        and module.groups == 1
        and module.padding == (0, 0)
    )


def _joined(convolutions: list[nn.Conv2d]) -> nn.Conv2d:
    """One 1x1 convolution that gives the channels of all, one after the other."""
    channels = sum(convolution.out_channels for convolution in convolutions)
    weight = convolutions[0].weight
    whole = nn.Conv2d(convolutions[0].in_channels, channels, 1, device=weight.device, dtype=weight.dtype)
    biases = [c.weight.new_zeros(c.out_channels) if c.bias is None else c.bias for c in convolutions]
    with torch.no_grad():
        whole.weight.copy_(torch.cat([convolution.weight for convolution in convolutions]))
        whole.bias.copy_(torch.cat(biases))  # type: ignore[union-attr]
    return whole
