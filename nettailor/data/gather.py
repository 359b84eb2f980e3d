"""The pictures that a user names, one by one or by the folder or zip that they are in, without classes.

    a.png photos/ more.zip -> gather -> [a.png, photos/cat/1.jpg, ..., more.zip/1.png, ...] -> Picture.read -> uint8 (3, S, S)

Folders and zips are looked through at all depths; nothing is decoded, and nothing is extracted. The order is that in which
they are named, and by name inside each.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from torch import Tensor

from blocks import InputSpec
from nettailor.data.images import UNREADABLE, FileSource, FolderSource, Source, ZipSource, square
from nettailor.errors import DataError, FileError


@dataclass(frozen=True)
class Picture:
    """One of them, not decoded yet.

    Attributes:
        name: in its source.
        shown: what a user calls it: the path, or `pictures.zip/member.png`.
    """

    source: Source
    name: str
    shown: str

    def read(self, spec: InputSpec) -> Tensor:
        """What a network reads of it, uint8 (3, S, S), as evaluation does.

        Raises:
            DataError: it can't be read; the message says why, and leaves it to the caller to name the picture.
        """
        try:
            return square(self.source.open(self.name), spec.size, spec.interpolation, spec.crop)
        except UNREADABLE as error:
            reason = (isinstance(error, OSError) and error.strerror) or str(error) or type(error).__name__
            raise DataError(f"can't be read ({reason})") from error


def gather(named: Sequence[str | Path]) -> list[Picture]:
    """All pictures of what is named. A single file is taken for a picture, whatever its name; only reading it tells.

    Raises:
        FileError: a folder or zip without pictures, or a `.zip` that is none or not there.
    """
    return [picture for word in named for picture in _pictures(Path(word))]


def _pictures(path: Path) -> list[Picture]:
    if os.path.isdir(path):  # unlike Path's own, False for a name that no file can have
        return _all_of(FolderSource(path), path, "folder")
    if path.suffix.lower() == ".zip":
        if not os.path.exists(path):
            raise FileError(path, "does not exist")
        return _all_of(ZipSource(path), path, "zip")
    return [Picture(FileSource(path), path.name, str(path))]


def _all_of(source: Source, path: Path, kind: str) -> list[Picture]:
    if not source.names:
        raise FileError(path, f"is a {kind} without pictures; name one that has some")
    if kind == "zip":
        return [Picture(source, name, f"{path}/{name}") for name in source.names]
    return [Picture(source, name, str(path / PurePosixPath(name))) for name in source.names]
