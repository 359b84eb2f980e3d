"""Gates: the attention weight `a_p^l` of every path (NetTailor, section 3.2; docs/how_it_works.md).

    softmax        a = softmax of the logits over the paths into a layer; universal +2, proxies -2 at the start
    independent    a = sigmoid of each logit on its own; universal +4, proxies -4 at the start

A third kind is one more entry of `KINDS`. Every gate has a fade in [0, 1] beside its logit: 1 is untouched, 0 is removed.
A fading path keeps that part of the weight that it would have. In a softmax the paths that stay share what it gives up, in
their own proportions, so that nothing jumps however dominant it was; beside an independent gate its neighbours keep theirs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import torch
from torch import Tensor, nn

from blocks.paths import slots


def softmax_gates(logits: Tensor, fade: Tensor) -> Tensor:
    """Rows (L, 1 + k) of weights that add up to 1; to less in a layer whose every path is fading."""
    present, leaving = fade > 0, (fade > 0) & (fade < 1)
    top = logits.masked_fill(~present, -torch.inf).amax(1, keepdim=True)
    top = torch.where(torch.isfinite(top), top, torch.zeros_like(top)).detach()
    weights = present * torch.exp((logits - top).masked_fill(~present, 0.0))
    weights = weights / _or_one(weights.sum(1, keepdim=True))
    going = weights * fade * leaving
    staying = weights * (present & ~leaving)
    share = (1 - going.sum(1, keepdim=True)) / _or_one(staying.sum(1, keepdim=True))
    return going + staying * share


def _or_one(total: Tensor) -> Tensor:
    return torch.where(total > 0, total, torch.ones_like(total))


def independent_gates(logits: Tensor, fade: Tensor) -> Tensor:
    """A sigmoid each (L, 1 + k), times its fade."""
    return torch.sigmoid(logits) * fade


KINDS: dict[str, tuple[Callable[[Tensor, Tensor], Tensor], float]] = {
    "softmax": (softmax_gates, 2.0),
    "independent": (independent_gates, 4.0),
}


Named = TypeVar("Named", bound=Tensor)


def without_gates(tensors: dict[str, Named]) -> dict[str, Named]:
    """A network's tensors by name, its gates left out: logits and fades of a student, weights of a compact net."""
    return {name: tensor for name, tensor in tensors.items() if not name.startswith("gates.")}


class Gates(nn.Module):
    """The gate matrix of a student (L, 1 + k): logits that are trained, fades that are set.

    Args:
        shared_prefix: the blocks of so many layers have no proxies beside them and count fully, whatever the kind.
    """

    fade: Tensor

    def __init__(self, depth: int, skips: int, kind: str, shared_prefix: int = 0) -> None:
        super().__init__()
        if kind not in KINDS:
            raise ValueError(f"gates are one of {', '.join(KINDS)}, not {kind!r}")
        self.kind = kind
        self.shared_prefix = shared_prefix
        present = slots(depth, skips, shared_prefix)
        start = torch.full((depth, skips + 1), -KINDS[kind][1])
        start[:, 0] = KINDS[kind][1]
        self.logits = nn.Parameter(start.masked_fill(~present, 0.0))
        self.register_buffer("fade", present.float())

    def forward(self) -> Tensor:
        """The weight of every path (L, 1 + k); 0 where there is no path or it is removed."""
        weights = KINDS[self.kind][0](self.logits, self.fade)
        shared = self.shared_prefix
        return torch.cat([self.fade[:shared], weights[shared:]]) if shared else weights

    def extra_repr(self) -> str:
        return f"{self.kind}, {int((self.fade > 0).sum())} paths"
