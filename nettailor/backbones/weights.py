"""Weights from a local file into a model: safetensors, or a checkpoint of torch that holds nothing but tensors.

    file -> read_weights -> {name: tensor}  -> fit_weights -> the model, or a plain line that names what is missing

A checkpoint of torch is read with `weights_only=True`: no code in it is run. What wraps the names (`module.` of
DataParallel, `model.` of a training class, `_orig_mod.` of torch.compile) is taken off where the model has no such names.
"""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from nettailor.errors import BackboneError, FileError
from nettailor.files import read_tensors

WRAPPERS = ("module.", "model.", "_orig_mod.", "backbone.", "net.", "network.")
SECTIONS = ("state_dict", "model", "model_state_dict", "model_state", "state_dict_ema", "model_ema", "weights", "net")
COUNTERS = ("num_batches_tracked", "n_averaged")


def read_weights(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file, or of the first section of a checkpoint that holds a model's.

    Raises:
        FileError: the file is missing, damaged, holds more than tensors and plain values, or holds no model's tensors.
    """
    if path.suffix == ".safetensors":
        return read_tensors(path)[0]
    if not path.is_file():
        raise FileError(path, "does not exist")
    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise FileError(
            path,
            f"is no checkpoint of tensors alone ({_first_line(error)}); save the model's state_dict() as safetensors",
        ) from error
    except (RuntimeError, ValueError, EOFError, OSError) as error:
        raise FileError(path, f"is no whole checkpoint ({_first_line(error)}); get it anew") from error
    for candidate in (found, *(found.get(key) for key in SECTIONS if isinstance(found, Mapping))):
        if isinstance(candidate, Mapping) and candidate and all(isinstance(t, Tensor) for t in candidate.values()):
            return dict(candidate)
    keys = ", ".join(str(key) for key in list(found)[:5]) if isinstance(found, Mapping) else type(found).__name__
    raise FileError(path, f"holds no model's tensors, but {keys}; save the model's state_dict()")


def fit_weights(model: nn.Module, found: dict[str, Tensor], path: Path | str) -> None:
    """Copy tensors into a model, by name.

    Raises:
        BackboneError: a tensor is missing, unexpected or of another shape, or holds numbers that are not finite.
    """
    wanted = {key: tensor for key, tensor in model.state_dict().items() if not key.endswith(COUNTERS)}
    given = {key: tensor for key, tensor in found.items() if not key.endswith(COUNTERS)}
    given = unwrapped(given, set(wanted))
    missing, strange = sorted(set(wanted) - set(given)), sorted(set(given) - set(wanted))
    if missing or strange:
        parts = (("missing", missing), ("unexpected", strange))
        raise BackboneError(
            f"{path}: holds another architecture's weights: "
            + "; ".join(f"{label} {_some(keys)}" for label, keys in parts if keys)
            + f" ({len(set(wanted) & set(given))} of {len(wanted)} names agree)"
        )
    for key, tensor in wanted.items():
        if tensor.shape != given[key].shape:
            raise BackboneError(
                f"{path}: {key} is {_shape(given[key])}, but the model has {_shape(tensor)}; arguments of the model can "
                "be given with its name: timm/NAME,num_classes=10"
            )
    model.load_state_dict({key: given[key].to(tensor.dtype) for key, tensor in wanted.items()}, strict=False)


def check_finite(model: nn.Module, where: str) -> None:
    """Refuse a model with a tensor that is not finite throughout."""
    broken = [key for key, tensor in model.state_dict().items() if not torch.isfinite(tensor).all()]
    if broken:
        raise BackboneError(f"{where}: {broken[0]} holds numbers that are not finite; get the weights anew")


def unwrapped(given: dict[str, Any], wanted: set[str]) -> dict[str, Any]:
    """Tensors under the model's own names: prefixes that every name has and no wanted one has are taken off."""
    while given and not set(given) & wanted:
        prefix = next((w for w in WRAPPERS if all(key.startswith(w) for key in given)), None)
        if prefix is None:
            break
        given = {key.removeprefix(prefix): tensor for key, tensor in given.items()}
    return given


def _some(keys: list[str]) -> str:
    return ", ".join(keys[:3]) + (f" and {len(keys) - 3} more" if len(keys) > 3 else "")


def _shape(tensor: Tensor) -> str:
    return " x ".join(str(n) for n in tensor.shape) or "a scalar"


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:150]
