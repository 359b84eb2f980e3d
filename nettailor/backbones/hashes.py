"""Which exact backbone it is, in three hashes: its tensors, its geometry, and its source classifier.

tensors      what tasks share; a delta's tensors mean nothing beside others
geometry     what is computed with them: strides, padding, eps, activations (`nettailor.backbones.geometry`)
classifier   the source task's own layer, which a network reads that keeps it (`blocks.top`)
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from torch import Tensor

from blocks import Backbone
from blocks.counting import tensors_of
from nettailor.backbones.geometry import canonical_form


@dataclass(frozen=True)
class BackboneHashes:
    """What a delta is held to: hashes of the tensors that tasks share and of the geometry."""

    tensors: str
    geometry: str

    @classmethod
    def of(cls, backbone: Backbone) -> BackboneHashes:
        """Of a whole backbone."""
        return cls(tensors_sha256(backbone), geometry_sha256(backbone))


def tensors_sha256(backbone: Backbone) -> str:
    """sha256 over names, types, shapes and bytes of the tensors that tasks share (no source classifier)."""
    return _sha256(backbone.tensors())


def geometry_sha256(backbone: Backbone) -> str:
    """sha256 over the canonical form of what the backbone computes; the same at other values of its tensors."""
    return hashlib.sha256("\n".join(canonical_form(backbone)).encode()).hexdigest()


def classifier_sha256(backbone: Backbone) -> str | None:
    """sha256 over the source classifier's tensors, as `tensors_sha256` takes it; None where there are none."""
    own = tuple(f"{path}." for path in backbone.classifier_paths)
    named = {name: tensor for name, tensor in tensors_of(backbone.head).items() if name.startswith(own)}
    return _sha256(named) if named else None


def _sha256(named: dict[str, Tensor]) -> str:
    digest = hashlib.sha256()
    for name, tensor in sorted(named.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
