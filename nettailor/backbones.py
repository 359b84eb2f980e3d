"""Find a pretrained backbone by name or file, and say which exact tensors it has.

"resnet34_tiny"                the one that comes with the package
"timm/mobilenetv2_100"         timm's model; its pretrained weights, or a local file's
"torchvision/resnet18"         torchvision's model; likewise
"my_pkg.models:resnet20"       a callable of the user's own that returns an nn.Module; weights from a file
"""

from __future__ import annotations

import difflib
import hashlib
import importlib
import sys
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from blocks import Backbone, CutError, InputSpec
from nettailor import embedded
from nettailor.errors import BackboneProblem
from nettailor.files import read_tensors

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


def load_backbone(
    name: str = embedded.NAME, weights: str | Path | None = None, input_size: int | None = None
) -> Backbone:
    """Load a backbone, cut and frozen.

    Args:
        name: see the top of this file.
        weights: a local safetensors file to load instead of the named model's own pretrained weights.
        input_size: side of the pictures in pixels; the model's own configuration decides if left out.

    Raises:
        BackboneProblem: no such model, no weights to be had, weights that do not fit, or a model that can't be cut.
        FileProblem: the weights file is missing or damaged.
    """
    model, spec = _find(name, weights, input_size)
    if weights is not None:
        _load_weights(model, Path(weights))
    broken = [key for key, tensor in model.state_dict().items() if not torch.isfinite(tensor).all()]
    if broken:
        raise BackboneProblem(f"{weights or name}: {broken[0]} holds numbers that are not finite; get the weights anew")
    try:
        return Backbone(model.to(memory_format=torch.channels_last), spec, name)
    except CutError as error:
        raise BackboneProblem(f"{name}: {error}") from error


def fingerprint(backbone: Backbone) -> str:
    """sha256 over names, types, shapes and bytes of the tensors that tasks share (no source classifier)."""
    digest = hashlib.sha256()
    for name, tensor in sorted(backbone.tensors().items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def _find(name: str, weights: str | Path | None, input_size: int | None) -> tuple[nn.Module, InputSpec]:
    library, slash, key = name.partition("/")
    if name == embedded.NAME:
        model: nn.Module = embedded.resnet34_tiny()
        if weights is None:
            _load_weights(model, embedded.WEIGHTS)
        return model, InputSpec(input_size or embedded.INPUT_SIZE, embedded.MEAN, embedded.STD)
    if slash and library == "timm":
        return _from_timm(key, weights is None, input_size)
    if slash and library == "torchvision":
        return _from_torchvision(key, weights is None, input_size)
    if ":" in name:
        return _from_import(name), InputSpec(input_size or 224, IMAGENET_MEAN, IMAGENET_STD)
    known = [embedded.NAME, "timm/NAME", "torchvision/NAME", "package.module:callable"]
    close = difflib.get_close_matches(name, known[:1], n=1)
    hint = f"did you mean {close[0]!r}?" if close else f"there are {', '.join(known)}"
    raise BackboneProblem(f"backbone {name!r}: no such backbone; {hint}")


def _from_timm(key: str, pretrained: bool, input_size: int | None) -> tuple[nn.Module, InputSpec]:
    import timm
    from timm.data.config import resolve_data_config

    if not timm.is_model(key):
        close = difflib.get_close_matches(key, timm.list_models(), n=1)
        raise BackboneProblem(
            f"backbone timm/{key}: timm has no such model" + (f"; did you mean timm/{close[0]}?" if close else "")
        )
    try:
        model = timm.create_model(key, pretrained=pretrained)
    except Exception as error:  # the hub's client raises its own, requests' and plain OS errors
        raise BackboneProblem(_offline(f"timm/{key}", error)) from error
    config: dict[str, Any] = resolve_data_config({}, model=model)
    return model, InputSpec(input_size or config["input_size"][1], tuple(config["mean"]), tuple(config["std"]))


def _from_torchvision(key: str, pretrained: bool, input_size: int | None) -> tuple[nn.Module, InputSpec]:
    from torchvision import models

    if key not in models.list_models(module=models):
        close = difflib.get_close_matches(key, models.list_models(module=models), n=1)
        raise BackboneProblem(
            f"backbone torchvision/{key}: torchvision has no such classification model"
            + (f"; did you mean torchvision/{close[0]}?" if close else "")
        )
    try:
        model = models.get_model(key, weights="DEFAULT" if pretrained else None)
    except Exception as error:  # URLError, OSError, RuntimeError of the hash check
        raise BackboneProblem(_offline(f"torchvision/{key}", error)) from error
    size, mean, std = 224, IMAGENET_MEAN, IMAGENET_STD
    if pretrained:
        preset = models.get_model_weights(key).DEFAULT.transforms()  # type: ignore[attr-defined]
        size, mean, std = preset.crop_size[0], tuple(preset.mean), tuple(preset.std)
    return model, InputSpec(input_size or size, mean, std)


def _from_import(name: str) -> nn.Module:
    module, _, attribute = name.partition(":")
    if (here := str(Path.cwd())) not in sys.path:
        sys.path.append(here)  # as `python -m` would: the user's own package is usually where they stand
    try:
        model = getattr(importlib.import_module(module), attribute)()
    except (ImportError, AttributeError, TypeError) as error:
        raise BackboneProblem(f"backbone {name!r}: can't be imported and called ({error})") from error
    if not isinstance(model, nn.Module):
        raise BackboneProblem(f"backbone {name!r}: gives a {type(model).__name__}, not an nn.Module")
    return model


def _load_weights(model: nn.Module, path: Path) -> None:
    found, _ = read_tensors(path)
    wanted = {key: tensor for key, tensor in model.state_dict().items() if not key.endswith("num_batches_tracked")}
    given = {key: tensor for key, tensor in found.items() if not key.endswith("num_batches_tracked")}
    missing, strange = sorted(set(wanted) - set(given)), sorted(set(given) - set(wanted))
    if missing or strange:
        raise BackboneProblem(
            f"{path}: holds another architecture's weights: "
            + "; ".join(
                f"{label} {_some(keys)}" for label, keys in (("missing", missing), ("unexpected", strange)) if keys
            )
        )
    for key, tensor in wanted.items():
        if tensor.shape != given[key].shape:
            raise BackboneProblem(f"{path}: {key} is {_shape(given[key])}, but the model has {_shape(tensor)}")
    model.load_state_dict({key: given[key].to(tensor.dtype) for key, tensor in wanted.items()}, strict=False)


def _some(keys: list[str]) -> str:
    return ", ".join(keys[:3]) + (f" and {len(keys) - 3} more" if len(keys) > 3 else "")


def _shape(tensor: Tensor) -> str:
    return " x ".join(str(n) for n in tensor.shape) or "a scalar"


def _offline(name: str, error: Exception) -> str:
    reason = " ".join(str(error).split())[:200]
    return f"backbone {name}: its pretrained weights can't be fetched ({reason}); give a local file with --weights FILE"
