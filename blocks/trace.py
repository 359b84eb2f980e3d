"""See a CNN as a graph of operations, and find where one single tensor carries everything.

    model -> trace -> fx graph -> legal_cuts -> [node, node, ...]        extract(from, to) -> a runnable segment

A node of the traced graph that post-dominates the input lies on every way from the input to the output, so the network
can be cut right behind it: whatever comes later reads nothing older. networkx finds those nodes as the chain of immediate
dominators on the reversed graph.
"""

from __future__ import annotations

import copy
import inspect
import operator
import threading
from typing import Any

import networkx as nx
import torch
from timm.models import _features_fx
from torch import Tensor, fx, nn
from torch.fx.passes.shape_prop import ShapeProp, TensorMetadata

from blocks.in_place import make_out_of_place, redirect_reads
from blocks.layer_types import CONVOLUTION, is_norm

TRACING = threading.RLock()
"""Held while a module is traced: torch.fx patches the calls of all modules, on all threads. A thread that runs networks
while another may trace holds it around every run."""


class CutError(ValueError):
    """The model can't be cut into universal blocks; the message says what was found and what would work."""


class _Tracer(fx.Tracer):
    """Leaves whole: what timm says it can't trace, and every convolution, linear layer and norm, subclasses included.

    A library's own `Linear` must stay one module, because a task replaces the classifier; a norm, because a task may own it.
    """

    def __init__(self) -> None:
        super().__init__(autowrap_functions=tuple(_features_fx.get_notrace_functions()))
        self._whole = (*_features_fx.get_notrace_modules(), nn.Linear, CONVOLUTION)

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return isinstance(m, self._whole) or is_norm(m) or super().is_leaf_module(m, module_qualified_name)


def trace(model: nn.Module, example: Tensor) -> fx.GraphModule:
    """Trace `model` in eval mode and write each node's output shape into its `meta`.

    Args:
        example: a batch of pictures (B, 3, H, W) that the model can take; it is run once.

    Raises:
        CutError: the forward depends on the data, or the model can't take the example.
    """
    model.eval()
    name = type(model).__name__
    try:
        with torch.no_grad():
            model(example)
    except (RuntimeError, ValueError, AssertionError) as error:
        size = "x".join(str(n) for n in example.shape[2:])
        raise CutError(f"{name} can't take a picture of {size} ({_reason(error)}); give another input size") from error
    try:
        with TRACING:
            graph = _Tracer().trace(model, concrete_args=_defaults(model))
    except Exception as error:  # what a forward may raise under tracing is open-ended; the message is what helps
        raise CutError(
            f"torch.fx can't trace {name} ({_reason(error)}); write it without branches or loops that depend on the pictures"
        ) from error
    redirect_reads(graph, model)
    traced = fx.GraphModule(model, graph)
    traced.graph.eliminate_dead_code()
    traced.recompile()
    with torch.no_grad():
        ShapeProp(traced).propagate(example)
    return traced


def trace_plain(module: nn.Module) -> fx.GraphModule:
    """`torch.fx.symbolic_trace`, alone among all threads."""
    with TRACING:
        return fx.symbolic_trace(module)


def _reason(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]


def picture_of(graph: fx.Graph) -> fx.Node:
    """The node of the model's first input; further ones are fixed at their defaults."""
    return next(node for node in graph.nodes if node.op == "placeholder")


def output_shape(node: fx.Node) -> tuple[int, ...] | None:
    """The shape of the tensor that a node returns, or None where it returns no single tensor."""
    meta = node.meta.get("tensor_meta")
    return tuple(meta.shape) if isinstance(meta, TensorMetadata) else None


def legal_cuts(graph: fx.Graph) -> list[fx.Node]:
    """The nodes behind which the network can be cut, in order: where one tensor (B, C, H, W) carries everything."""
    source = picture_of(graph)
    (sink,) = [node for node in graph.nodes if node.op == "output"]
    flow = nx.DiGraph((user, node) for node in graph.nodes for user in node.users)
    if source not in flow or not nx.has_path(flow, sink, source):
        raise CutError("the model's output does not depend on its input")
    reached = flow.subgraph({sink, *nx.descendants(flow, sink)} & {source, *nx.ancestors(flow, source)})
    dominator = nx.immediate_dominators(reached, sink)
    chain = []
    node = dominator[source] if source != sink else sink
    while node is not sink:
        chain.append(node)
        node = dominator[node]
    channels_last = _channels_last(graph)
    return [node for node in chain if len(output_shape(node) or ()) == 4 and node not in channels_last]


def _channels_last(graph: fx.Graph) -> set[fx.Node]:
    """The nodes whose tensor is (B, H, W, C): between a permutation that moves the channels there and one back."""
    found: set[fx.Node] = set()
    for node in graph.nodes:
        order = _permutation(node)
        if order == (0, 2, 3, 1) or (order is None and any(source in found for source in node.all_input_nodes)):
            found.add(node)
    return found


def _permutation(node: fx.Node) -> tuple[int, ...] | None:
    if node.op == "call_method" and node.target == "permute":
        order = node.args[1:]
    elif node.op == "call_function" and node.target is torch.permute:
        order = node.args[1:] or (node.kwargs.get("dims"),)
    else:
        return None
    flat = order[0] if len(order) == 1 else order
    return tuple(flat) if isinstance(flat, (tuple, list)) and all(isinstance(n, int) for n in flat) else ()


def owner(node: fx.Node) -> str:
    """The path of the innermost module whose forward made this node; "" for the model itself."""
    stack = node.meta.get("nn_module_stack")
    return next(reversed(stack.values()))[0] if stack else ""


def extract(model: nn.Module, source: fx.Node, target: fx.Node) -> fx.GraphModule:
    """The part of a traced network between two cuts, as a module that shares `model`'s own submodules and parameters.

    Operations that are known to write into what they read (`blocks.in_place`) are made out-of-place: at the start of a
    segment one would overwrite a tensor that a proxy also reads. The values are the same.
    """
    needed = {target}
    for node in reversed(source.graph.nodes):
        if node in needed and node is not source:
            needed.update(node.all_input_nodes)
    graph = fx.Graph()
    copies = {source: graph.placeholder("x")}
    for node in source.graph.nodes:
        if node in needed and node is not source:
            if node.op == "placeholder":
                raise CutError(f"the part up to {target.name} also reads the model's input")
            copies[node] = graph.node_copy(node, copies.__getitem__)
            make_out_of_place(copies[node], model)
    graph.output(copies[target])
    return fx.GraphModule(model, graph)


def with_modules(segment: fx.GraphModule, replaced: dict[str, nn.Module]) -> fx.GraphModule:
    """A copy of a segment in which some modules are others; all that is not replaced is shared, not copied.

    Args:
        replaced: the new module by the path that it has within the segment.
    """
    parts: dict[str, Any] = {}
    for node in segment.graph.nodes:
        if node.op == "call_module":
            parts[node.target] = replaced.get(node.target) or segment.get_submodule(node.target)
        elif node.op == "get_attr":
            parts[node.target] = operator.attrgetter(node.target)(segment)
    return fx.GraphModule(parts, copy.deepcopy(segment.graph))


def _defaults(model: nn.Module) -> dict[str, Any]:
    """What the optional arguments of a model's forward are when it is just given a picture."""
    parameters = list(inspect.signature(model.forward).parameters.values())[1:]
    return {p.name: p.default for p in parameters if p.default is not p.empty}
