"""The backbone of a suite: its tensors in one file, and the network that they are put back into.

Backbone -> store_backbone -> backbone.safetensors         the shared tensors, of all blocks or of some
Backbone -> store_classifier -> classifier.safetensors     the source classifier, where a task computes with it
name + file -> restore_backbone -> Backbone                the architecture by its name, nothing is downloaded
Backbone -> release -> Backbone                            without what no task reads
"""

from __future__ import annotations

import math
from collections.abc import Collection
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

import torch
from torch import Tensor, nn

from blocks import Backbone, CompactNet
from blocks.counting import tensors_of
from nettailor.artifacts.delta_tensors import TYPES, read_checked
from nettailor.backbones.hashes import BackboneHashes, geometry_sha256, tensors_sha256
from nettailor.backbones.load import load_backbone
from nettailor.errors import BackboneError, FileError
from nettailor.files import TensorInfo, sha256_of, write_tensors
from nettailor.suite.folder import NOTES, SuiteBackbone, SuiteFolder, SuiteIndex


class AbsentBlock(nn.Module):
    """In the place of a block that a packed suite does not have, because none of its tasks keeps it."""

    def __init__(self, number: int, name: str) -> None:
        super().__init__()
        self.message = f"G{number} ({name}) is not in this packed suite: none of its tasks keeps it"

    def forward(self, x: Tensor) -> Tensor:
        raise BackboneError(self.message)


def kept_blocks(net: CompactNet) -> set[int]:
    """Numbers of the blocks of which a network reads the backbone's own tensors."""
    return {int(part[1:]) for part in net.shared_params() if part not in ("stem", "head")}


def store_backbone(
    backbone: Backbone, path: Path, hashes: BackboneHashes, blocks: Collection[int] | None = None
) -> SuiteBackbone:
    """Write the tensors that tasks share: stem, head, and all blocks or those of these numbers.

    Args:
        hashes: of the whole backbone.

    Raises:
        FileError: the file can't be written.
    """
    write_tensors(path, _stored(backbone, blocks), NOTES)
    return SuiteBackbone(backbone.name, hashes.tensors, hashes.geometry, sha256_of(path))


def store_classifier(backbone: Backbone, path: Path) -> str:
    """Write the source classifier's tensors; returns the file's sha256.

    Raises:
        FileError: the file can't be written.
    """
    write_tensors(path, classifier_tensors(backbone), NOTES)
    return sha256_of(path)


def restore_backbone(folder: SuiteFolder, index: SuiteIndex, name: str | None = None) -> Backbone:
    """Build a suite's backbone by its name and give it the tensors; blocks that are not there keep random ones.

    Args:
        name: in place of the one in the index, which is not followed where it means importing code.

    Raises:
        FileError: the file is missing or altered, or the name gives another network here.
        BackboneError: there is no such backbone.
    """
    said = index.backbone
    if name is None and ":" in said.name:
        raise FileError(folder.index, f"backbone: {said.name!r} is code to import; name it yourself with --backbone")
    backbone = _architecture(folder, index, name or said.name)
    _restore(folder, folder.backbone, said.file_sha256, _stored(backbone, index.packed))
    if index.packed is None and tensors_sha256(backbone) != said.sha256:
        raise FileError(folder.index, f"backbone.sha256: is not that of {folder.backbone.name}; get both anew")
    if said.classifier_file_sha256 is not None:
        _restore(folder, folder.classifier, said.classifier_file_sha256, classifier_tensors(backbone))
    backbone.name = said.name
    return backbone


def _restore(folder: SuiteFolder, path: Path, sha256: str, own: dict[str, Tensor]) -> None:
    """Put the tensors of a file that the index describes into those of a backbone."""
    if sha256_of(path) != sha256:
        raise FileError(path, f"is not the file that {folder.index.name} describes: cut short or altered; get it anew")
    wanted = {key: TensorInfo(TYPES[tensor.dtype], tuple(tensor.shape)) for key, tensor in own.items()}
    found, _ = read_checked(path, wanted, math.inf)
    with torch.no_grad():
        for key, tensor in own.items():
            tensor.copy_(found[key])


def _architecture(folder: SuiteFolder, index: SuiteIndex, name: str) -> Backbone:
    """The network by its name, with random weights.

    Some are built otherwise with their pretrained weights (torchvision's GoogLeNet): these have to be on this machine then.
    """
    pictures = asdict(index.input)
    size = pictures.pop("size")
    with torch.random.fork_rng(devices=[]):
        backbone = load_backbone(name, None, size, untrained=True, fetch=False, **pictures)
        if geometry_sha256(backbone) == index.backbone.geometry_sha256:
            return backbone
        with suppress(BackboneError):  # its weights are not on this machine: the error below says more
            backbone = load_backbone(name, None, size, fetch=False, **pictures)
            if geometry_sha256(backbone) == index.backbone.geometry_sha256:
                return backbone
    raise FileError(
        folder.index,
        f"backbone.geometry_sha256: {name} computes otherwise here than where the suite was made (strides, padding, eps "
        "or activations differ); give its arguments with --backbone NAME,argument=value",
    )


def release(backbone: Backbone, blocks: Collection[int] | None, classifier: bool = False) -> None:
    """Free what no task of a suite reads: the source classifier unless it is kept, and the blocks that are not there.

    Call it when all networks are built: a network that is trained as a whole is built like the blocks, too.

    Args:
        blocks: numbers of those that are there; None for all.
        classifier: whether a task reads the source classifier.
    """
    for path in () if classifier else backbone.classifier_paths:
        layer = backbone.head.get_submodule(path)
        for name, tensor in list(layer.named_parameters(recurse=False)):
            setattr(layer, name, nn.Parameter(tensor.to("meta"), requires_grad=False))
    for number, name in enumerate(backbone.block_names, 1):
        if blocks is not None and number not in blocks:
            backbone.blocks[number - 1] = AbsentBlock(number, name)


def classifier_tensors(backbone: Backbone) -> dict[str, Tensor]:
    """The source classifier's, by the names that the original model gave them."""
    own = tuple(f"{path}." for path in backbone.classifier_paths)
    return {name: tensor for name, tensor in tensors_of(backbone.head).items() if name.startswith(own)}


def _stored(backbone: Backbone, blocks: Collection[int] | None) -> dict[str, Tensor]:
    """Tensors of stem, head and some blocks with their activations, by the names of `Backbone.tensors`."""
    if blocks is None:
        return backbone.tensors()
    shared, named = backbone.tensors(), dict[str, Tensor]()
    inside = [
        pair for number, pair in enumerate(zip(backbone.blocks, backbone.acts, strict=True), 1) if number in blocks
    ]
    for segment in (backbone.stem, *(part for pair in inside for part in pair), backbone.head):
        named |= tensors_of(segment)
    return {name: tensor for name, tensor in named.items() if name in shared}
