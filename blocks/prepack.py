"""Pack a folded net's kernels for this CPU: oneDNN keeps them in its own layout instead of arranging them anew at every call.

    fold(net) -> pack -> fx.GraphModule        for answering only, on a CPU, in float32; on other machines nothing changes

Without it a convolution of a small picture takes up to twice its time, and 1x1 convolutions more, so a net's time would not
follow its MACs. The two operations are those that torch's own compiler emits for a CPU; where a build of torch lacks them,
the convolution stays as it is.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, fx, nn

from blocks.fuse import ADDITIONS, called

SMALLEST_MAP = (1, 1)
"""Height and width of a map to which oneDNN can't add in torch 2.11 ("could not create a memory")."""


class PackedConvolution(nn.Module):
    """A convolution, a tensor that is added to it, and the activation behind both, as one operation.

    The kernel is kept in the layout that oneDNN chooses for the shape of what it was last given; another shape packs it anew.
    The plain modules stay beside it, for whatever is no float32 CPU tensor. A copy packs its own kernel.
    """

    def __init__(self, convolution: nn.Conv2d, act: nn.Module | None = None) -> None:
        super().__init__()
        self.convolution = convolution
        self.act = act or nn.Identity()
        self._act = fused_name(act)
        sides = convolution.padding, convolution.stride, convolution.dilation
        self._geometry: list[Any] = [*(list(side) for side in sides), convolution.groups]
        self._packed: tuple[torch.Size, Tensor] | None = None

    def __getstate__(self) -> dict[str, Any]:
        """All but the packed kernel, which torch can neither copy nor pickle."""
        return {**super().__getstate__(), "_packed": None}  # type: ignore[misc]

    def forward(self, x: Tensor, other: Tensor | None = None) -> Tensor:
        if (
            x.device.type != "cpu"
            or x.dtype != torch.float32
            or (other is not None and other.shape[2:] == SMALLEST_MAP)
        ):
            plain: Tensor = self.convolution(x)
            return self.act(plain if other is None else plain + other)
        if self._packed is None or self._packed[0] != x.shape:
            self._packed = x.shape, self._pack(x.shape)
        packed, bias = self._packed[1], self.convolution.bias
        run = torch.ops.mkldnn._convolution_pointwise
        if other is None:
            out: Tensor = run(x, packed, bias, *self._geometry, *self._act)
        else:
            name, numbers, kind = self._act
            act = (None, [], None) if name == "none" else (name, numbers, kind)
            out = run.binary(x, other, packed, bias, *self._geometry, "add", None, *act)
        return out

    def _pack(self, shape: torch.Size) -> Tensor:
        weight = self.convolution.weight.detach().to_mkldnn()
        packed: Tensor = torch._C._nn.mkldnn_reorder_conv2d_weight(weight, *self._geometry, list(shape))  # type: ignore[call-arg]
        return packed


def fused_name(act: nn.Module | None) -> tuple[str, list[float], str]:
    """What oneDNN calls an activation that can be a part of the convolution before it.

    Raises:
        KeyError: this one can't.
    """
    if act is None:
        return "none", [], ""
    return {nn.ReLU: ("relu", [], ""), nn.ReLU6: ("hardtanh", [0.0, 6.0], "")}[type(act)]


def can_pack() -> bool:
    """Whether this build of torch has oneDNN and the operations."""
    return (
        torch.backends.mkldnn.is_available()
        and hasattr(torch._C._nn, "mkldnn_reorder_conv2d_weight")
        and hasattr(torch.ops.mkldnn, "_convolution_pointwise")
    )


def pack(folded: fx.GraphModule) -> fx.GraphModule:
    """Pack every convolution of a folded net, in place, and return it."""
    if not can_pack():
        return folded
    for node in list(folded.graph.nodes):
        module = called(folded, node)
        if type(module) is not nn.Conv2d or module.padding_mode != "zeros" or isinstance(module.padding, str):
            continue
        last = node
        added = _only_reader(node)
        other = _other_term(added, node)
        if added is not None and other is not None:
            last = added
        else:
            added = None
        act = _only_reader(last)
        module_after = called(folded, act)
        fuses = type(module_after) in (nn.ReLU, nn.ReLU6)
        setattr(folded, str(node.target), PackedConvolution(module, module_after if fuses else None))
        if added is not None:
            with folded.graph.inserting_before(added):
                whole = folded.graph.call_module(str(node.target), (*node.args, other))
            added.replace_all_uses_with(whole)
            folded.graph.erase_node(added)
            folded.graph.erase_node(node)
            node = whole
        if fuses and act is not None:
            act.replace_all_uses_with(node)
            folded.graph.erase_node(act)
    folded.graph.lint()
    folded.delete_all_unused_submodules()
    folded.recompile()
    return folded


def _only_reader(node: fx.Node) -> fx.Node | None:
    return next(iter(node.users)) if len(node.users) == 1 else None


def _other_term(added: fx.Node | None, node: fx.Node) -> fx.Node | None:
    """The other side of a plain addition of two tensors, one of which is `node`."""
    if added is None or added.op != "call_function" or added.target not in ADDITIONS or added.kwargs:
        return None
    others = [term for term in added.args if term is not node]
    return others[0] if len(added.args) == 2 and len(others) == 1 and isinstance(others[0], fx.Node) else None
