"""Operations of a traced graph that write into what they read, and how the graph computes the same without them.

    x -> relu_(x) -> ...  x ...      becomes      x -> y = relu(x) -> ... y ...

What is known to write into its first argument:

    modules              an attribute `inplace` that is True
    functions            an argument `inplace` that is True, given by name or by place
    functions, methods   a name that ends in `_` where the one without it exists: `torch.relu_`, `x.clamp_`
    operators            `operator.iadd` and its like

What a function of the model's own writes into, and views of a tensor that is written into, are not seen.
"""

from __future__ import annotations

import inspect
import operator
from typing import Any

import torch
from torch import Tensor, fx, nn


def redirect_reads(graph: fx.Graph, model: nn.Module) -> None:
    """Let whatever runs after an operation that overwrites its input read the operation's result instead of the input."""
    place = {node: number for number, node in enumerate(graph.nodes)}
    for node in graph.nodes:
        if _writes(node, model) and node.args and isinstance(node.args[0], fx.Node):
            for user in list(node.args[0].users):
                if place[user] > place[node]:
                    user.replace_input_with(node.args[0], node)


def make_out_of_place(node: fx.Node, model: nn.Module) -> None:
    """Let a node give a new tensor where it would overwrite the one that it reads."""
    if node.op == "call_module":
        for part in model.get_submodule(str(node.target)).modules():
            if getattr(part, "inplace", False) is True:
                part.inplace = False  # type: ignore[assignment]
    elif node.op == "call_method":
        node.target = _plain_method(str(node.target))
    elif node.op == "call_function":
        node.target = _plain_function(node.target)
        position = _position_of_inplace(node)
        if position is not None and len(node.args) > position:
            node.args = (*node.args[:position], False, *node.args[position + 1 :])
        if "inplace" in node.kwargs:
            node.kwargs = {**node.kwargs, "inplace": False}


def _writes(node: fx.Node, model: nn.Module) -> bool:
    if node.op == "call_module":
        return getattr(model.get_submodule(str(node.target)), "inplace", False) is True
    if node.op == "call_method":
        return _plain_method(str(node.target)) != node.target
    if node.op == "call_function":
        position = _position_of_inplace(node)
        given = position is not None and len(node.args) > position and node.args[position] is True
        return given or node.kwargs.get("inplace") is True or _plain_function(node.target) is not node.target
    return False


def _plain_method(name: str) -> str:
    """`relu_` -> `relu`; anything else as it is."""
    return name[:-1] if name.endswith("_") and not name.endswith("__") and hasattr(Tensor, name[:-1]) else name


def _plain_function(function: Any) -> Any:
    """The twin of a function that writes into its first argument: `torch.relu_` -> `torch.relu`, `iadd` -> `add`."""
    name = getattr(function, "__name__", "")
    if name.startswith("i") and getattr(operator, name, None) is function:
        return getattr(operator, name[1:], getattr(operator, f"{name[1:]}_", function))  # iand -> and_
    if not name.endswith("_") or name.endswith("__"):
        return function
    homes = torch, nn.functional, torch._C._nn
    if not any(getattr(home, name, None) is function for home in homes):
        return function
    twins = (getattr(home, name[:-1], None) for home in homes)
    return next((twin for twin in twins if twin is not None), function)


def _position_of_inplace(node: fx.Node) -> int | None:
    """Where among a called function's arguments `inplace` stands."""
    try:
        names = list(inspect.signature(node.target).parameters)  # type: ignore[arg-type]
    except (TypeError, ValueError):  # a function of C++ shows no signature, and has no such argument
        return None
    return names.index("inplace") if "inplace" in names else None
