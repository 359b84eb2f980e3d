"""The machine that a run is on: device, threads, precision, and the versions that its figures depend on."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version
from typing import Annotated, Literal

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass

from nettailor.errors import DataError
from nettailor.schema import STRICT


def pick_device(name: str) -> torch.device:
    """`auto` is a GPU where there is one.

    Raises:
        DataError: a device was named that this machine does not have.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    kind = name.split(":")[0]
    here = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if not here[kind]:
        raise DataError(f"--device {name}: this machine has none; --device auto takes what there is")
    return torch.device(name)


def versions() -> dict[str, str]:
    """Versions of what the figures depend on."""
    found = {"python": platform.python_version()}
    for package in ("nettailor", "torch", "torchvision", "timm", "numpy"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found


def device_name(device: torch.device) -> str:
    """The device in words."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{device.type}, {torch.get_num_threads()} threads"


@dataclass(config=STRICT, frozen=True)
class MachineConfig:
    """Where and how it runs."""

    device: Annotated[str, Field(pattern=r"^(auto|cpu|cuda(:\d+)?|mps)$", description="auto, cpu, cuda or mps")] = (
        "auto"
    )
    precision: Annotated[
        Literal["float32", "bfloat16"], Field(description="float32, or bfloat16 autocast while training")
    ] = "float32"
    threads: Annotated[int | None, Field(ge=1, description="CPU threads of torch; its own config if left out")] = None
    cpus: Annotated[
        float | None,
        Field(
            gt=0, description="with --on ray: cores that one job takes, fractions allowed; threads, or 1, if left out"
        ),
    ] = None
    gpus: Annotated[
        float | None,
        Field(ge=0, description="with --on ray: GPUs that one job takes, fractions allowed; 1 where there are some"),
    ] = None
