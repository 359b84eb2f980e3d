"""Find a pretrained backbone by name or file.

"resnet34_tiny"                         the one that comes with the package
"efficientnet_lite0"                    the ImageNet network of the extra `imagenet`
"timm/mobilenetv2_100,pad_type=same"    timm's model; its pretrained weights, or a local file's
"torchvision/resnet18"                  torchvision's model; likewise, or a member of its weights enum
"my_pkg.models:resnet20,depth=20"       a callable of the user's own that returns an nn.Module, with or without a file

What follows a comma is an argument of the model. Size, mean, std, interpolation and crop of the pictures come from the
model's own configuration where it has one, and can be overruled.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import torch
import yaml
from torch import nn

from blocks import Backbone, CutError, InputSpec
from nettailor.backbones import efficientnet_lite0 as lite0
from nettailor.backbones import resnet34_tiny as embedded
from nettailor.backbones.weights import check_finite, fit_weights, read_weights
from nettailor.errors import BackboneError, did_you_mean
from nettailor.schema import Interpolation
from nettailor.user_code import ImportPathError, import_path

IMAGENET = InputSpec(224, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225), "bilinear", 0.875)
RANDOM = "random"  # in place of a weights file: none is fetched, none is read


def load_backbone(
    name: str = embedded.NAME,
    weights: str | Path | None = None,
    input_size: int | None = None,
    untrained: bool = False,
    fetch: bool = True,
    **pictures: Any,
) -> Backbone:
    """Load a backbone, cut and frozen.

    Args:
        name: see the top of this file.
        weights: a local file to load instead of the named model's own pretrained weights, or for a model of torchvision a
            member of its weights enum (`IMAGENET1K_V1`).
        input_size: side of the pictures in pixels; the model's own configuration decides if left out.
        untrained: the architecture alone, with random weights: for what depends on no weight, such as costs.
        fetch: whether the named model's own weights may be downloaded; else they must be on this machine already.
        pictures: `mean`, `std` (three numbers each), `interpolation`, `crop` in place of the model's own; None changes
            nothing.

    Raises:
        BackboneError: no such model, no weights to be had, weights that do not fit, or a model that can't be cut.
        FileError: the weights file is missing or damaged.
    """
    bare, *words = name.split(",")
    with nullcontext() if fetch else _without_network():
        model, spec = _find(bare, _arguments(name, words), RANDOM if untrained else weights, input_size)
    if weights is not None and not untrained and not _is_enum(bare, weights):
        found = read_weights(Path(weights))
        fit_weights(model, lite0.timm_names(found) if bare == lite0.NAME else found, weights)
    check_finite(model, str(weights or name))
    spec = replace(spec, **{key: _three(value) for key, value in pictures.items() if value is not None})
    if input_size is not None:
        spec = replace(spec, size=input_size)
    try:
        backbone = Backbone(model.to(memory_format=torch.channels_last), spec, name)
    except CutError as error:
        raise BackboneError(f"{name}: {error}") from error
    if weights is None and not untrained:
        _say_source(bare, backbone)
    return backbone


def random_model(name: str, input_size: int | None = None) -> nn.Module:
    """The bare model behind a backbone's name with random weights, drawn from torch's generator.

    Raises:
        BackboneError: no such model.
    """
    bare, *words = name.split(",")
    with _without_network():
        return _find(bare, _arguments(name, words), RANDOM, input_size)[0]


def _say_source(name: str, backbone: Backbone) -> None:
    """What is known of the pictures that a network of ours was pretrained on."""
    if name == lite0.NAME:
        backbone.source_classes = lite0.imagenet_classes()
    elif name == embedded.NAME and backbone.classes == embedded.SOURCE_CLASSES:
        backbone.source_classes, backbone.source_crop = embedded.source_classes(), embedded.SOURCE_CROP


@contextmanager
def _without_network() -> Iterator[None]:
    """Let the libraries find what they have downloaded before, and download nothing."""
    import huggingface_hub.constants as hub

    def refuse(*_: object, **__: object) -> None:
        raise OSError("they are not on this machine, and what only a delta names is not downloaded")

    download, offline = torch.hub.download_url_to_file, hub.HF_HUB_OFFLINE
    torch.hub.download_url_to_file, hub.HF_HUB_OFFLINE = refuse, True  # type: ignore[assignment]
    try:
        yield
    finally:
        torch.hub.download_url_to_file, hub.HF_HUB_OFFLINE = download, offline


def _find(
    name: str, arguments: dict[str, Any], weights: str | Path | None, input_size: int | None
) -> tuple[nn.Module, InputSpec]:
    library, slash, key = name.partition("/")
    if name == embedded.NAME:
        model: nn.Module = _build(name, embedded.resnet34_tiny, arguments)
        if weights is None:
            fit_weights(model, read_weights(embedded.WEIGHTS), embedded.WEIGHTS)
        return model, InputSpec(embedded.INPUT_SIZE, embedded.MEAN, embedded.STD)
    if name == lite0.NAME:
        model = _build(name, lite0.efficientnet_lite0, arguments)
        if weights is None:
            file = lite0.installed_weights()
            fit_weights(model, lite0.timm_names(read_weights(file)), file)
        return model, lite0.SPEC
    if slash and library == "timm":
        return _from_timm(key, arguments, weights is None, input_size)
    if slash and library == "torchvision":
        return _from_torchvision(key, arguments, weights)
    if ":" in name:
        try:
            model = _build(name, import_path(name), arguments)
        except ImportPathError as error:
            raise BackboneError(f"backbone {name!r}: {error}") from error
        if not isinstance(model, nn.Module):
            raise BackboneError(f"backbone {name!r}: gives a {type(model).__name__}, not an nn.Module")
        return model, _own_spec(model)
    own = [embedded.NAME, lite0.NAME]
    known = ", ".join([*own, "timm/NAME", "torchvision/NAME", "package.module:callable"])
    hint = did_you_mean(name, own, f"; there are {known}")
    raise BackboneError(f"backbone {name!r}: no such backbone{hint}")


def _from_timm(
    key: str, arguments: dict[str, Any], pretrained: bool, input_size: int | None
) -> tuple[nn.Module, InputSpec]:
    import timm

    if not timm.is_model(key):
        raise BackboneError(_no_such(f"timm/{key}", "timm has no such model", timm.list_models()))
    config = timm.get_pretrained_cfg(key)
    if pretrained and not (config and config.has_weights):
        raise BackboneError(
            f"backbone timm/{key}: timm has no pretrained weights for it; give a file with --weights FILE"
        )
    if input_size is not None and config and config.fixed_input_size and input_size != config.input_size[1]:
        arguments = {"img_size": input_size, **arguments}  # such a model is built for one size
    try:
        model = _build(f"timm/{key}", lambda **given: timm.create_model(key, pretrained=pretrained, **given), arguments)
    except BackboneError:
        raise
    except Exception as error:  # the hub's client raises its own, requests' and plain OS errors
        raise BackboneError(_offline(f"timm/{key}", error)) from error
    return model, _own_spec(model)


def _from_torchvision(key: str, arguments: dict[str, Any], weights: str | Path | None) -> tuple[nn.Module, InputSpec]:
    from torchvision import models

    known = models.list_models(module=models)
    if key not in known:
        raise BackboneError(_no_such(f"torchvision/{key}", "torchvision has no such classification model", known))
    members = models.get_model_weights(key)
    if weights is None or _is_enum(f"torchvision/{key}", weights):
        chosen: Any = members.DEFAULT if weights is None else members[str(weights)]  # type: ignore[attr-defined]
    else:
        chosen = None
    try:
        model = _build(f"torchvision/{key}", lambda **given: models.get_model(key, weights=chosen, **given), arguments)
    except BackboneError:
        raise
    except Exception as error:  # URLError, OSError, RuntimeError of the hash check
        raise BackboneError(_offline(f"torchvision/{key}", error)) from error
    preset = (chosen or members.DEFAULT).transforms()  # type: ignore[attr-defined]
    size, around = preset.crop_size[0], preset.resize_size[0]
    return model, InputSpec(size, _triple(preset.mean), _triple(preset.std), preset.interpolation.value, size / around)


def _own_spec(model: nn.Module) -> InputSpec:
    """What a model says of its pictures in timm's way (`pretrained_cfg`), or ImageNet's customs."""
    from timm.data.config import resolve_data_config

    if not isinstance(getattr(model, "pretrained_cfg", None), dict):
        return IMAGENET
    config = resolve_data_config({}, model=model)
    interpolation = config["interpolation"] if config["interpolation"] in get_args(Interpolation) else "bilinear"
    return InputSpec(
        config["input_size"][1], _triple(config["mean"]), _triple(config["std"]), interpolation, config["crop_pct"]
    )


def _build(name: str, build: Callable[..., Any], arguments: dict[str, Any]) -> Any:
    try:
        return build(**arguments)
    except TypeError as error:
        given = f" with {', '.join(arguments)}" if arguments else " without arguments"
        raise BackboneError(f"backbone {name!r}: can't be called{given} ({error})") from error


def _arguments(name: str, words: list[str]) -> dict[str, Any]:
    """`pad_type=same`, `num_classes=10` -> keyword arguments; the values are YAML's."""
    found = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not equals or not key.isidentifier():
            raise BackboneError(f"backbone {name!r}: {word!r} is no argument; write NAME,argument=value")
        if key in ("pretrained", "checkpoint_path", "cache_dir", "weights") or key.startswith("pretrained_"):
            raise BackboneError(
                f"backbone {name!r}: {key} is no argument of a model's architecture; give weights with --weights FILE"
            )
        try:
            found[key] = yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise BackboneError(f"backbone {name!r}: {value!r} is no value of {key}; quote it as in YAML") from error
    return found


def _is_enum(name: str, weights: str | Path) -> bool:
    """Whether weights are a member of a torchvision model's weights enum, and no file."""
    library, _, key = name.partition("/")
    if library != "torchvision" or Path(weights).is_file():
        return False
    from torchvision import models

    return key in models.list_models(module=models) and str(weights) in models.get_model_weights(key).__members__


def _three(value: Any) -> Any:
    return _triple(value) if isinstance(value, (tuple, list)) else value


def _triple(values: Any) -> tuple[float, float, float]:
    one, two, three = (float(value) for value in values)
    return one, two, three


def _no_such(name: str, problem: str, known: list[str]) -> str:
    library, _, key = name.partition("/")
    return f"backbone {name}: {problem}" + did_you_mean(key, known, show=lambda nearest: f"{library}/{nearest}")


def _offline(name: str, error: Exception) -> str:
    reason = " ".join(str(error).split())[:200]
    return f"backbone {name}: its pretrained weights can't be fetched ({reason}); give a local file with --weights FILE"
