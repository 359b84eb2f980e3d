"""A backbone on its way to another process or machine: its tensors, and how to see that the rest is the same there.

    Backbone -> pack_backbone -> PackedBackbone -> unpack_backbone(config) -> Backbone, the same to the last bit

Only tensors travel: a pickled graph is traced anew where it is read, and needs all code of the user's to be importable
before anything of ours runs there. The architecture is built anew from its name, and held to a sketch of the one packed.
"""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass

import torch
from torch import Tensor, fx, nn

from blocks import Backbone, InputSpec
from nettailor.backbones.config import BackboneConfig
from nettailor.backbones.load import load_backbone
from nettailor.errors import BackboneError


@dataclass(frozen=True)
class PackedBackbone:
    """What travels.

    Attributes:
        tensors: all parameters and buffers, source classifier included.
        sketch: sha256 of the layers' settings and the graphs' code.
        source_classes, source_crop: of the backbone, where they are known.
    """

    tensors: dict[str, Tensor]
    spec: InputSpec
    sketch: str
    source_classes: list[str] | None = None
    source_crop: float | None = None


def pack_backbone(backbone: Backbone) -> PackedBackbone:
    """Take a backbone apart; its tensors go to the CPU."""
    tensors = {name: tensor.detach().cpu() for name, tensor in _tensors(backbone).items()}
    known = backbone.source_classes, backbone.source_crop
    return PackedBackbone(tensors, backbone.spec, _sketch(backbone), *known)


def unpack_backbone(packed: PackedBackbone, config: BackboneConfig) -> Backbone:
    """Build a backbone by its name and give it the tensors.

    Where an architecture depends on whether it is built with its pretrained weights (torchvision's GoogLeNet), it is loaded
    as its config says.

    Raises:
        BackboneError: the name gives another architecture here than where it was packed.
    """
    backbone = load_backbone(**asdict(config), untrained=True)
    if not _fits(packed, backbone):
        backbone = load_backbone(**asdict(config))
        if not _fits(packed, backbone):
            raise BackboneError(
                f"backbone {config.name}: is another network here than where the jobs were started; "
                f"see that the code and the versions of timm and torchvision are the same on all machines"
            )
    with torch.no_grad():
        for name, tensor in _tensors(backbone).items():
            tensor.copy_(packed.tensors[name])
    backbone.spec = packed.spec
    backbone.source_classes, backbone.source_crop = packed.source_classes, packed.source_crop
    return backbone


def _tensors(backbone: Backbone) -> dict[str, Tensor]:
    """Every tensor, also buffers that no checkpoint keeps; one that several places share by each of its names."""
    named = list(backbone.named_parameters(remove_duplicate=False))
    return dict(named) | dict(backbone.named_buffers(remove_duplicate=False))


def _fits(packed: PackedBackbone, backbone: Backbone) -> bool:
    own = {name: (tensor.shape, tensor.dtype) for name, tensor in _tensors(backbone).items()}
    sent = {name: (tensor.shape, tensor.dtype) for name, tensor in packed.tensors.items()}
    return own == sent and _sketch(backbone) == packed.sketch


def _sketch(backbone: nn.Module) -> str:
    """One hash of all layers as they describe themselves, and of what the graphs do with them."""
    digest = hashlib.sha256(repr(list(backbone.named_children())).encode())
    for name, module in backbone.named_modules():
        if isinstance(module, fx.GraphModule):
            digest.update(f"{name}\n{module.code}\n".encode())
    return digest.hexdigest()
