"""The one place where files are written and tensors are read back.

Every write goes to a temporary file beside the target and is renamed over it, so a reader finds the old file or the new
one and never a half of either. Tensors travel as safetensors: nothing here pickles or unpickles. What is not a tensor
rides along as JSON in the file's own metadata, so that one rename replaces both.

    value -> write_json    -> file.json          -> read_json    -> value
    {name: tensor}, notes  -> write_tensors -> file.safetensors  -> read_tensors -> {name: tensor}, notes
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from nettailor.errors import FileError

DEEPEST = 64  # levels of nesting in a JSON file
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


def copy_file(source: Path, target: Path) -> None:
    """Copy a file's bytes atomically.

    Raises:
        FileError: the source can't be read, or the target can't be written.
    """
    try:
        data = Path(source).read_bytes()
    except OSError as error:
        raise FileError(source, f"can't be read ({error.strerror})") from error
    write_atomic(target, lambda temporary: _write_bytes(temporary, data))


def write_json(path: Path, value: Any) -> None:
    """Write indented JSON atomically. Refuses NaN and infinity, which JSON does not have."""
    write_text(path, json.dumps(value, indent=2, allow_nan=False) + "\n")


def read_json(path: Path, most_bytes: int | None = None) -> Any:
    """Read JSON as other programs read it, too: finite numbers, each key once, no deeper than `DEEPEST`.

    Args:
        most_bytes: a larger file is refused unread.

    Raises:
        FileError: the file is missing, too large or no such JSON.
    """
    try:
        if most_bytes is not None and (size := Path(path).stat().st_size) > most_bytes:
            raise FileError(path, f"has {size} bytes, {most_bytes} are the most it may have; get it anew")
        tree = json.loads(
            Path(path).read_text(encoding="utf-8"),
            parse_constant=_no_number,
            parse_float=_finite,
            object_pairs_hook=_each_once,
        )
        _check_depth(tree)
        return tree
    except OSError as error:
        raise FileError(path, f"can't be read ({error.strerror})") from error
    except RecursionError as error:
        raise FileError(path, f"is nested deeper than {DEEPEST} levels; get it anew") from error
    except ValueError as error:
        raise FileError(path, f"is no valid JSON ({error})") from error


def _no_number(word: str) -> Any:
    raise ValueError(f"{word} is no number that JSON has")


def _finite(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise ValueError(f"{text[:20]} is larger than any number of 64 bits")
    return value


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        twice = Counter(key for key, _ in pairs).most_common(1)[0][0]
        raise ValueError(f"{twice[:80]!r} stands twice in one object")
    return found


def _check_depth(tree: Any) -> None:
    level, depth = [tree], 0
    while level := [part for part in level if isinstance(part, (dict, list))]:
        depth += 1
        if depth > DEEPEST:
            raise RecursionError
        level = [child for part in level for child in (part.values() if isinstance(part, dict) else part)]


def write_tensors(path: Path, tensors: dict[str, torch.Tensor], notes: dict[str, Any] | None = None) -> None:
    """Write tensors, and JSON notes beside them in the same file, atomically."""
    plain = {name: tensor.detach().to("cpu").contiguous().clone() for name, tensor in tensors.items()}
    metadata = {NOTES: json.dumps(notes)} if notes is not None else None
    write_atomic(path, lambda temporary: save_file(plain, temporary, metadata))


@dataclass(frozen=True)
class TensorInfo:
    """What a file says of one tensor before it is read: type as safetensors calls it ("F32"), and shape."""

    dtype: str
    shape: tuple[int, ...]


def read_tensor_infos(path: Path) -> dict[str, TensorInfo]:
    """Types and shapes of a file's tensors, from its header: none of them is read, no memory is taken for them.

    Raises:
        FileError: as `read_tensors`.
    """
    with _opened(path) as file:
        slices = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118 - a handle, not a dict
        return {name: TensorInfo(str(part.get_dtype()), tuple(part.get_shape())) for name, part in slices.items()}


def read_tensors(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Read what `write_tensors` wrote, as CPU tensors. Also reads any other safetensors file (its notes are empty).

    Raises:
        FileError: the file is missing, cut short or altered beyond its format.
    """
    with _opened(path) as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - a handle, not a dict
        notes = json.loads((file.metadata() or {}).get(NOTES, "{}"))
    if not isinstance(notes, dict):
        raise FileError(path, f"has notes that are a {type(notes).__name__}; get it anew")
    return tensors, notes


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    if not Path(path).is_file():
        raise FileError(path, "does not exist")
    try:
        with safe_open(path, framework="pt") as file:
            yield file
    except (SafetensorError, ValueError, OSError, RecursionError, RuntimeError) as error:
        raise FileError(path, f"is no whole safetensors file ({_first_line(error)}); get it anew") from error


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]


def sha256_of(path: Path) -> str:
    """sha256 of a file's bytes.

    Raises:
        FileError: it can't be read.
    """
    digest = hashlib.sha256()
    try:
        with Path(path).open("rb") as file:
            while part := file.read(2**20):
                digest.update(part)
    except OSError as error:
        raise FileError(path, f"can't be read ({error.strerror})") from error
    return digest.hexdigest()


def _write_bytes(path: Path, data: bytes) -> None:
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
