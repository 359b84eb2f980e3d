"""How much adapting changed each layer of a backbone: its weights, and what comes out of it.

    backbone, adapted net, pictures -> per layer: |W - W0| / |W0|, cosine(W, W0), CKA(x_l before, x_l after), zeros in x_l

W are all parameters of a layer that both networks have by name and shape, as one vector (running statistics are none of
them). x_l are activations; for CKA they are averaged over positions and centred. Layer 0 is the stem; where the head has
layers before the classifier, L + 1 is those, in their weights alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from blocks import Backbone, CompactNet

STEM, HEAD = "stem", "head"


@dataclass(frozen=True)
class LayerChange:
    """One layer, before adapting and after it. What can't be said is None.

    Attributes:
        layer: 0 for the stem, l for block l, L + 1 for the head without its classifier.
        weights: |W - W0| / |W0|; 0 where the layer is the backbone's own.
        cosine: of W and W0.
        cka: linear CKA of the pooled activations, 0..1.
        zeros_before, zeros_after: parts of all numbers in x_l that are exactly 0.
    """

    layer: int
    name: str
    weights: float | None
    cosine: float | None
    cka: float | None
    zeros_before: float | None
    zeros_after: float | None


def linear_cka(before: Tensor, after: Tensor) -> float | None:
    """Linear CKA `|Y'X|² / (|X'X| |Y'Y|)` of two representations of the same pictures (Kornblith et al., 2019).

    Columns are centred here; norms are Frobenius's. It is 1 for representations that differ by a rotation and one factor.

    Args:
        before, after: (N, p) and (N, q).

    Returns:
        0..1, or None where one of them is the same for all pictures.
    """
    x, y = (matrix.double() - matrix.double().mean(0) for matrix in (before, after))
    if len(x) < max(x.shape[1], y.shape[1]):  # by the pictures' products, which are fewer then
        kx, ky = x @ x.T, y @ y.T
        cross, norms = (kx * ky).sum(), kx.norm() * ky.norm()
    else:
        cross, norms = (y.T @ x).square().sum(), (x.T @ x).norm() * (y.T @ y).norm()
    return None if norms <= 0 else float((cross / norms).clamp(0, 1))


def weight_change(
    before: nn.Module, after: nn.Module, without: Sequence[str] = ()
) -> tuple[float | None, float | None]:
    """`|W - W0| / |W0|` and the cosine of W and W0; None where no parameter is in both, or one of the vectors is zero.

    Args:
        without: paths of layers that are left out.
    """
    old = {name: tensor for name, tensor in before.named_parameters() if name.rpartition(".")[0] not in without}
    new = dict(after.named_parameters())
    shared = [name for name, tensor in old.items() if name in new and new[name].shape == tensor.shape]
    if not shared:
        return None, None
    w0, w = (torch.cat([tensors[name].detach().flatten().cpu().double() for name in shared]) for tensors in (old, new))
    if torch.equal(w0, w):
        return 0.0, 1.0
    size, other = float(w0.norm()), float(w.norm())
    if size == 0:
        return None, None
    cosine = None if other == 0 else max(-1.0, min(1.0, float(w0 @ w) / (size * other)))
    return float((w - w0).norm()) / size, cosine


@torch.no_grad()
def changes(backbone: Backbone, net: CompactNet, batches: Iterable[Tensor]) -> list[LayerChange]:
    """What adapting changed, layer by layer, from the stem up; blocks that the net does without are left out.

    Args:
        batches: normalised pictures (B, 3, S, S), where the networks are.
    """
    before, after = _Seen(), _Seen()
    for x in batches:
        before.add(dict(enumerate(backbone.eval().activations(x)[:-1])))
        after.add(net.advance({0: net.stem(x)}, 0, net.depth))
    return list(_rows(backbone, net, before, after))


def _rows(backbone: Backbone, net: CompactNet, before: _Seen, after: _Seen) -> Iterator[LayerChange]:
    for layer in range(backbone.depth + 1):
        if layer and str(layer) not in net.blocks:
            continue
        old = backbone.stem if layer == 0 else backbone.blocks[layer - 1]
        new = net.stem if layer == 0 else net.blocks[str(layer)]
        weights, cosine = weight_change(old, new)
        yield LayerChange(
            layer,
            STEM if layer == 0 else backbone.block_names[layer - 1],
            weights,
            cosine,
            linear_cka(before.pooled(layer), after.pooled(layer)),
            before.part_of_zeros(layer),
            after.part_of_zeros(layer),
        )
    weights, cosine = weight_change(backbone.head, net.head, backbone.classifier_paths)
    if weights is not None:
        yield LayerChange(backbone.depth + 1, HEAD, weights, cosine, None, None, None)


@dataclass
class _Seen:
    """Pooled activations and counts of zeros, by layer, over all batches so far."""

    means: dict[int, list[Tensor]] = field(default_factory=dict)
    zeros: dict[int, int] = field(default_factory=dict)
    numbers: dict[int, int] = field(default_factory=dict)

    def add(self, xs: dict[int, Tensor]) -> None:
        for layer, x in xs.items():
            self.means.setdefault(layer, []).append(x.float().mean((2, 3)).cpu())
            self.zeros[layer] = self.zeros.get(layer, 0) + int((x == 0).sum())
            self.numbers[layer] = self.numbers.get(layer, 0) + x.numel()

    def pooled(self, layer: int) -> Tensor:
        return torch.cat(self.means[layer])

    def part_of_zeros(self, layer: int) -> float:
        return self.zeros[layer] / self.numbers[layer]
