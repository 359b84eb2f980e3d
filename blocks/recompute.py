"""Keep only the inputs of a part of a net for its gradients, and compute the rest again in the backward pass.

    out = recomputed(modules, function, *inputs)        the values and gradients of function(*inputs)

Buffers change once, in the forward pass: what is computed again starts from copies of what they were (a batch norm's running
statistics would otherwise follow every batch twice). Random numbers are those of the forward pass.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from types import TracebackType

from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint


def recomputed(modules: Sequence[nn.Module], function: Callable[..., Tensor], *inputs: Tensor) -> Tensor:
    """`function(*inputs)`, of which nothing but the inputs is kept; `modules` are those whose buffers it may change.

    It may be differentiated several times (`retain_graph`), and is computed again each time.
    """
    before = _BuffersBefore(modules)

    def contexts() -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
        return nullcontext(), before

    out: Tensor = checkpoint(function, *inputs, use_reentrant=False, context_fn=contexts)
    return out


class _BuffersBefore(AbstractContextManager[None]):
    """While it is entered, modules have copies of the buffers that they had when it was made."""

    def __init__(self, modules: Sequence[nn.Module]) -> None:
        parts = [part for module in modules for part in module.modules()]
        self._kept = [
            (part, name, tensor.clone()) for part in parts for name, tensor in part.named_buffers(recurse=False)
        ]
        self._own: list[Tensor | None] = []

    def __enter__(self) -> None:
        self._own = [part._buffers[name] for part, name, _ in self._kept]
        for part, name, tensor in self._kept:
            part._buffers[name] = tensor.clone()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for (part, name, _), tensor in zip(self._kept, self._own, strict=True):
            part._buffers[name] = tensor
