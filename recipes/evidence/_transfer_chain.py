"""A fine-tuned network as a backbone to begin with: the control of growing for a middle task, without the growing.

run of the middle task -> its delta -> tensors by the original model's names -> a weights file with the source's classifier
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from torch import Tensor, nn

from blocks.counting import tensors_of
from nettailor.artifacts import delta
from nettailor.artifacts.run_folder import RunFolder
from nettailor.backbones.load import load_backbone
from nettailor.files import write_tensors
from nettailor.jobs.recipe import Recipe


def write_weights(run: RunFolder, path: Path) -> None:
    """Write the network of a finished run of `finetune` as weights of the backbone that it came of.

    Its classifier is left out: the file has the source's, which every method drops.

    Raises:
        FileError: the run has no delta, or it is of another network.
    """
    backbone = load_backbone(**asdict(Recipe.read(run.recipe).backbone))
    net = delta.load(run.root, backbone).net
    own = _named(net.stem, net.blocks, net.acts, net.head)
    source = _named(backbone.stem, backbone.blocks, backbone.acts, backbone.head)
    classifier = tuple(f"{path}." for path in backbone.classifier_paths)
    tensors = {name: tensor if name.startswith(classifier) else own[name] for name, tensor in source.items()}
    write_tensors(path, {name: tensor.detach().contiguous() for name, tensor in tensors.items()})


def _named(
    stem: nn.Module, blocks: nn.ModuleList | nn.ModuleDict, acts: nn.ModuleList | nn.ModuleDict, head: nn.Module
) -> dict[str, Tensor]:
    """Every tensor by the name that the original model gave it."""
    named: dict[str, Tensor] = {}
    for part in (stem, *_members(blocks), *_members(acts), head):
        named |= tensors_of(part)
    return named


def _members(parts: nn.ModuleList | nn.ModuleDict) -> list[nn.Module]:
    return list(parts.values() if isinstance(parts, nn.ModuleDict) else parts)
