"""A GPU without float64, as Apple's MPS: no machine of ours has one, so its rules are held to tensors on the CPU.

    with AppleGpu():  x -> x.device == "mps";  x.double() -> TypeError;  x + a tensor on the CPU -> RuntimeError

A tensor is on the CPU where it was made there inside, moved there by `to` or `cpu`, or named as one that lies there; all else
that was there before is on the GPU.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves

GPU = torch.device("mps")
MAY_MIX = {Tensor.copy_, Tensor.data.__set__, Tensor.view_as}  # type: ignore[attr-defined]


class AppleGpu(TorchFunctionMode):
    """See the top of this file; `on_cpu` are tensors that were made before and lie on the CPU."""

    def __init__(self, *on_cpu: Tensor) -> None:
        super().__init__()
        self._on_cpu = {id(tensor): tensor for tensor in on_cpu}  # kept, so that no other tensor gets the id

    def __torch_function__(
        self, func: Callable[..., Any], types: Iterable[type], args: Any = (), kwargs: Any = None
    ) -> Any:
        kwargs = dict(kwargs or {})
        tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        ours = [tensor for tensor in tensors[: 1 if func in MAY_MIX else None] if id(tensor) not in self._on_cpu]
        if func == Tensor.device.__get__:  # type: ignore[attr-defined]
            return GPU if ours else torch.device("cpu")
        if func in (Tensor.to, Tensor.cpu) and (where := self._target(func, args, kwargs)) is not None:
            moved = args[0].clone()
            rest = [value for value in args[1:] if isinstance(value, torch.dtype)] + [
                value for value in kwargs.values() if isinstance(value, torch.dtype)
            ]
            return self._put(moved.to(rest[0]) if rest else moved, where)
        wanted = kwargs.pop("device", None)
        if wanted is not None and torch.device(wanted) != GPU:
            kwargs["device"] = wanted
        if len({id(tensor) in self._on_cpu for tensor in tensors if tensor.ndim}) > 1 and func not in MAY_MIX:
            raise RuntimeError(f"{getattr(func, '__name__', func)}: tensors on mps and on the cpu")
        found = func(*args, **kwargs)
        there = GPU if ours or (not tensors and wanted is not None and torch.device(wanted) == GPU) else None
        if func == Tensor.data.__set__:  # type: ignore[attr-defined]
            self._put(args[0], torch.device("cpu") if id(args[1]) in self._on_cpu else GPU)
            return found
        for leaf in tree_leaves(found):
            if isinstance(leaf, Tensor):
                self._put(leaf, there or torch.device("cpu"))
        return found

    def _target(self, func: Any, args: Any, kwargs: Any) -> torch.device | None:
        """Where `to` or `cpu` moves a tensor; None where it changes the type alone."""
        if func is Tensor.cpu:
            return torch.device("cpu")
        for value in (*args[1:], *kwargs.values()):
            if isinstance(value, str | torch.device):
                return torch.device(value)
            if isinstance(value, Tensor):
                return torch.device("cpu") if id(value) in self._on_cpu else GPU
        return None

    def _put(self, tensor: Tensor, where: torch.device) -> Tensor:
        if where == GPU:
            self._on_cpu.pop(id(tensor), None)
            if tensor.dtype == torch.float64:
                raise TypeError("mps has no float64")
        else:
            self._on_cpu[id(tensor)] = tensor
        return tensor
