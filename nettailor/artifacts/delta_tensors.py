"""The tensors of a delta, held to what its network wants before memory is taken for any of them.

task.safetensors -> header (names, types, shapes) == those of the network, built without memory -> read -> values checked
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from blocks import Backbone, CompactNet, NetPlan
from nettailor.errors import FileError
from nettailor.files import TensorInfo, read_tensor_infos, read_tensors

TYPES = {torch.float32: "F32", torch.float64: "F64", torch.float16: "F16", torch.bfloat16: "BF16"}
VARIANCE = "running_var"
LARGEST = 1e9
"""No trained network comes near it; a single larger number can overflow on some pictures and not on others."""


def wanted_tensors(backbone: Backbone, plan: NetPlan) -> dict[str, TensorInfo]:
    """Names, types and shapes of what a task owns in a network: built on torch's meta device, which holds no values.

    A description may ask for any number of classes, and only the file can tell whether it has tensors for them.
    """
    try:
        with torch.device("meta"):
            net = CompactNet(backbone, plan)
    except (NotImplementedError, RuntimeError):
        net = CompactNet(backbone, plan)  # a user's own form of proxy that computes with values while it is built
    return {name: TensorInfo(TYPES[tensor.dtype], tuple(tensor.shape)) for name, tensor in net.task_tensors().items()}


def read_checked(
    path: Path, wanted: dict[str, TensorInfo], largest: float = LARGEST
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read a network's tensors and the notes beside them.

    Args:
        wanted: the tensors that the file has to have, and no other.
        largest: value that a tensor may have.

    Raises:
        FileError: the file is missing or damaged, has other tensors than wanted, or values that no network can have.
    """
    found = read_tensor_infos(path)
    if found != wanted:
        raise FileError(path, _difference(found, wanted))
    tensors, notes = read_tensors(path)
    for name, tensor in tensors.items():
        if not torch.isfinite(tensor).all():
            raise FileError(path, f"tensor {name!r} has values that are not finite; get the file anew")
        if tensor.numel() and tensor.abs().max() > largest:
            raise FileError(
                path, f"tensor {name!r} has values above {largest:g}, as no trained network has; get it anew"
            )
        if name.endswith(VARIANCE) and (tensor < 0).any():
            raise FileError(path, f"tensor {name!r} has negative variances; get the file anew")
    return tensors, notes


def _difference(found: dict[str, TensorInfo], wanted: dict[str, TensorInfo]) -> str:
    odd = sorted(name for name in found.keys() | wanted.keys() if found.get(name) != wanted.get(name))[0]
    here, want = found.get(odd), wanted.get(odd)
    if here is None and want is not None:
        return f"tensor {odd!r} does not fit this network: it is missing"
    if want is None:
        return f"tensor {odd!r} does not fit this network, which has none of that name"
    assert here is not None
    return (
        f"tensor {odd!r} does not fit this network: it is {here.dtype} {list(here.shape)}, "
        f"but has to be {want.dtype} {list(want.shape)}"
    )
