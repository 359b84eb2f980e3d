"""The machine that a run is on: device, threads, precision, and the versions that its figures depend on."""

from __future__ import annotations

import os
import platform
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
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


def machine_memory() -> int:
    """Bytes of memory that this machine has, or its container where that has less; 0 where that is not known."""
    if not hasattr(os, "sysconf") or "SC_PHYS_PAGES" not in os.sysconf_names:
        return 0
    found = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    for limit in CONTAINER_LIMITS:
        text = limit.read_text().strip() if limit.is_file() else ""
        found = min(found, int(text)) if text.isdigit() else found
    return found


CONTAINER_LIMITS = Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes")


def usable_cores() -> int:
    """Cores that this process may use; as many as OMP_NUM_THREADS where that is set and less."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    given = os.environ.get("OMP_NUM_THREADS", "")
    return min(cores, int(given)) if given.isdigit() and int(given) > 0 else cores


@contextmanager
def no_interrupts() -> Iterator[None]:
    """What is started inside never sees Ctrl-C, not even while it starts; ours is only put off until the end."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def versions() -> dict[str, str]:
    """Versions of what the figures depend on; `commit` where the package is imported from a checkout of its own."""
    found = {"python": platform.python_version()}
    for package in ("nettailor", "torch", "torchvision", "timm", "numpy"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    if commit := commit_of(Path(__file__).resolve().parent):
        found["commit"] = commit
    return found


@cache
def commit_of(package: Path) -> str | None:
    """The commit of the git checkout that a package is a tracked part of; `-dirty` when tracked files are changed.

    Read once per process: a run is made by the code that it imported. None where there is no git, no checkout, or the
    package lies in a checkout of something else (an environment inside somebody's repository).
    """
    if _git(package, "ls-files", "--error-unmatch", "__init__.py") is None or not (
        head := _git(package, "rev-parse", "HEAD")
    ):
        return None
    changed = _git(package, "status", "--porcelain", "--untracked-files=no")
    return head if changed == "" else f"{head}-dirty"


def _git(folder: Path, *words: str) -> str | None:
    """What git prints, or None if it is missing, slow or fails."""
    command = ["git", "-C", str(folder), "--no-optional-locks", *words]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


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
