"""From a converted network to files under their final names: nothing is there before it has been proven.

Converted -> draft in a folder beside the target -> proven in its runtime -> written anew with the figures
          -> opened once more -> renamed
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from nettailor.errors import FileError, UsageError
from nettailor.export._protocol import Converted, Format, Session

Prove = Callable[[Session, Path], Mapping[str, Any]]
"""Runs a draft; returns what its metadata says beside the notes, or raises."""
Recheck = Callable[[Session], None]


def check_target(format: Format, path: Path) -> None:
    """Refuse a file that could not be written at the end, before anything is computed.

    Raises:
        UsageError: its ending is not the format's.
        FileError: its folder can't be made or written.
    """
    if path.suffix != format.suffix:
        raise UsageError(f"--out {path}: a file of --to {format.name} ends in {format.suffix}")
    if path.is_dir():
        raise FileError(path, "is a folder; choose another --out")
    check_folder(path)


def check_folder(path: Path) -> None:
    """See whether a file can be written where `path` is to lie; its folder is made.

    Raises:
        FileError: it can't.
    """
    with _writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path.parent):
            pass


def write_proven(
    format: Format, converted: Converted, path: Path, notes: Mapping[str, Any], prove: Prove, recheck: Recheck
) -> int:
    """Write, prove, write anew with the figures, look again, and rename; returns the bytes of all files.

    Raises:
        ExportError: what `prove` or `recheck` raises; the target is then as it was before.
        FileError: the folder can't be written.
    """
    with (
        _writing(path),
        tempfile.TemporaryDirectory(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent) as folder,
    ):
        draft = Path(folder) / path.name
        converted.write(draft, notes)
        figures = prove(format.open(draft), draft)
        converted.write(draft, {**notes, **figures})
        recheck(format.open(draft))
        return _install(format.files(draft), format.files(path))


def _install(drafts: list[Path], targets: list[Path]) -> int:
    """Rename all files of a network, that which is opened last: without it the others are nothing."""
    size = sum(draft.stat().st_size for draft in drafts)
    umask = os.umask(0)
    os.umask(umask)
    for draft in drafts:
        draft.chmod(0o666 & ~umask)
        with draft.open("rb") as file:
            os.fsync(file.fileno())
    if len(drafts) > 1:
        targets[-1].unlink(missing_ok=True)  # so that an old graph never stands beside new weights
    for draft, target in zip(drafts, targets, strict=True):
        os.replace(draft, target)
    return size


class _writing:
    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, OSError):
            reason = error.strerror or str(error)
            raise FileError(self._path, f"can't be written ({reason}); choose another --out") from error
