"""The one place where files are written and tensors are read back.

Every write goes to a temporary file beside the target and is renamed over it, so a reader finds the old file or the new
one and never a half of either. Tensors travel as safetensors: nothing here pickles or unpickles. What is not a tensor
rides along as JSON in the file's own metadata, so that one rename replaces both.

    value -> write_json    -> file.json          -> read_json    -> value
    {name: tensor}, notes  -> write_tensors -> file.safetensors  -> read_tensors -> {name: tensor}, notes
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from nettailor.errors import FileError

NOTES = "nettailor"  # the metadata key under which the JSON notes of a tensor file stand


def write_atomic(path: Path, fill: Callable[[Path], None]) -> None:
    """Let `fill` write a temporary file beside `path`, then rename it to `path`.

    Raises:
        FileError: the folder can't be written, or the disk is full; `path` is then as it was before.
    """
    path = Path(path)
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
        os.close(handle)
        temporary = Path(name)
        fill(temporary)
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)  # mkstemp makes it private; a result is as readable as any other file
        os.replace(temporary, path)
        temporary = None
    except (OSError, SafetensorError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise FileError(path, f"can't be written ({reason}); free some space or choose another --out") from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text atomically."""
    write_atomic(path, lambda temporary: _write_bytes(temporary, text.encode()))


def write_json(path: Path, value: Any) -> None:
    """Write indented JSON atomically. Refuses NaN and infinity, which JSON does not have."""
    write_text(path, json.dumps(value, indent=2, allow_nan=False) + "\n")


def read_json(path: Path) -> Any:
    """Read JSON.

    Raises:
        FileError: the file is missing or is no JSON.
    """
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise FileError(path, f"can't be read ({error.strerror})") from error
    except ValueError as error:
        raise FileError(path, f"is no valid JSON ({error})") from error


def write_tensors(path: Path, tensors: dict[str, torch.Tensor], notes: dict[str, Any] | None = None) -> None:
    """Write tensors, and JSON notes beside them in the same file, atomically."""
    plain = {name: tensor.detach().to("cpu").contiguous().clone() for name, tensor in tensors.items()}
    metadata = {NOTES: json.dumps(notes)} if notes is not None else None
    write_atomic(path, lambda temporary: save_file(plain, temporary, metadata))


def read_tensors(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Read what `write_tensors` wrote, as CPU tensors. Also reads any other safetensors file (its notes are empty).

    Raises:
        FileError: the file is missing, cut short or altered beyond its format.
    """
    if not Path(path).is_file():
        raise FileError(path, "does not exist")
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - a handle, not a dict
            notes = json.loads((file.metadata() or {}).get(NOTES, "{}"))
        return tensors, notes
    except (SafetensorError, ValueError, OSError) as error:
        raise FileError(path, f"is no whole safetensors file ({error}); get it anew") from error


def _write_bytes(path: Path, data: bytes) -> None:
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
