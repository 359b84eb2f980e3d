"""Pictures wherever they lie: in folders, in a zip, or in a data set that is already in memory.

    source.names -> "train/cat/01.jpg"        source.open(name) -> PIL picture        square(picture, 32) -> uint8 (3, 32, 32)

Any picture that Pillow reads will do: grayscale, palette, 1 and 16 bit, CMYK, with or without alpha. Not those of 32 bits
or floats: no type says what is white in them, and a picture's own largest value must not decide it.
"""

from __future__ import annotations

import hashlib
import io
import lzma
import os
import struct
import zipfile
import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from nettailor.errors import DataError, FileError

Image.init()
READABLE = {extension for extension, kind in Image.registered_extensions().items() if kind in Image.OPEN}
WIDE = {"I", "I;16", "I;16B", "I;16L", "I;16N", "F"}
SCALED = ("PNG", "PPM")  # formats whose wide pictures Pillow hands out as 0..65535, in mode I where it is an old one
DRAFTED = ("JPEG", "MPO")  # formats that libjpeg can decode at a smaller size
BITS_PER_SAMPLE = 258  # TIFF's tag
MOST_BYTES = 512 * 2**20
"""Of a picture's file, or of a zip's member when it is inflated: a file of a few kB can claim any number."""
TOO_LARGE = f"it has more than {MOST_BYTES // 2**20} MiB, the most that a picture's file may have"
UNREADABLE = (OSError, ValueError, SyntaxError, Image.DecompressionBombError)
# what Pillow's decoders raise for damaged files beside those
DAMAGED_PICTURE = (EOFError, LookupError, NotImplementedError, TypeError, struct.error, zlib.error)
# a zip's member: cut short, altered, of an unknown compression (NotImplementedError), with a password (RuntimeError)
DAMAGED_MEMBER = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, RuntimeError)


class Source(Protocol):
    """Where pictures come from. `folders` are the class folders that exist, with or without pictures in them."""

    where: str
    names: list[str]
    folders: set[str]

    def open(self, name: str, shortest: int | None = None) -> Image.Image:
        """Decode one picture; raises OSError or ValueError where it can't.

        Args:
            shortest: pixels of the shorter side that will do; a JPEG is decoded at a half, quarter or eighth where that
                leaves as many, which is far quicker. Left out, it is decoded in full.
        """
        ...

    def content(self, name: str) -> bytes:
        """What the picture is made of, for a hash: its file's bytes, or its pixels; raises as `open` does."""
        ...


class FolderSource:
    """Pictures below a directory, named by their path in it."""

    def __init__(self, root: Path) -> None:
        self.where = str(root)
        self._root = root
        entries = sorted(path for path in root.rglob("*") if not _hidden(path.relative_to(root).as_posix()))
        relative = [(path, path.relative_to(root).as_posix()) for path in entries]
        self.names = [name for path, name in relative if path.is_file() and _is_picture(name)]
        self.folders = {name for path, name in relative if path.is_dir()}

    def open(self, name: str, shortest: int | None = None) -> Image.Image:
        return _decoded(self.content(name), shortest)

    def content(self, name: str) -> bytes:
        return _bytes_of(self._root / name)


class ZipSource:
    """Pictures in a zip, read in place: nothing is extracted. Each process opens it anew: they can't share a place in it."""

    def __init__(self, path: Path) -> None:
        self.where = str(path)
        self._path = path.absolute()
        self._opened: tuple[int, zipfile.ZipFile] | None = None  # the process that opened it
        try:
            archive = self._archive()
        except (zipfile.BadZipFile, OSError) as error:
            raise FileError(path, f"is no readable zip ({error})") from error
        members = [info for info in archive.infolist() if not _hidden(info.filename)]
        self.names = sorted(info.filename for info in members if not info.is_dir() and _is_picture(info.filename))
        above = {str(parent) for info in members for parent in PurePosixPath(info.filename).parents} - {"."}
        self.folders = above | {info.filename.rstrip("/") for info in members if info.is_dir()}

    def open(self, name: str, shortest: int | None = None) -> Image.Image:
        return _decoded(self.content(name), shortest)

    def content(self, name: str) -> bytes:
        try:
            info = self._archive().getinfo(name)
            if info.file_size > MOST_BYTES:
                raise OSError(TOO_LARGE)
            with self._archive().open(info) as member:
                return member.read(info.file_size)  # no more, whatever its deflated bytes would come to
        except (*DAMAGED_MEMBER, KeyError) as error:
            raise OSError(f"{type(error).__name__}: {error}") from error

    def _archive(self) -> zipfile.ZipFile:
        if self._opened is None or self._opened[0] != os.getpid():
            self._opened = os.getpid(), zipfile.ZipFile(self._path)
        return self._opened[1]

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_opened": None}


class FileSource:
    """One picture on its own."""

    def __init__(self, path: Path) -> None:
        self.where = str(path.parent)
        self.names = [path.name]
        self.folders: set[str] = set()
        self._path = path

    def open(self, name: str, shortest: int | None = None) -> Image.Image:
        return _decoded(self.content(name), shortest)

    def content(self, name: str) -> bytes:
        return _bytes_of(self._path)


class BytesSource:
    """Pictures whose files' bytes are in memory, by name; read as those formats only, where some are given."""

    def __init__(self, files: Mapping[str, bytes], formats: tuple[str, ...] | None = None) -> None:
        self.where = "memory"
        self.names = list(files)
        self.folders: set[str] = set()
        self._files = files
        self._formats = formats

    def open(self, name: str, shortest: int | None = None) -> Image.Image:
        return _decoded(self.content(name), shortest, self._formats)

    def content(self, name: str) -> bytes:
        return self._files[name]


class MemorySource:
    """Pictures that some data set hands out one by one."""

    def __init__(self, where: str, names: Sequence[str], get: Callable[[int], Image.Image]) -> None:
        self.where = where
        self.names = list(names)
        self.folders: set[str] = set()
        self._place = {name: index for index, name in enumerate(self.names)}
        self._get = get

    def open(self, name: str, shortest: int | None = None) -> Image.Image:
        return self._get(self._place[name])

    def content(self, name: str) -> bytes:
        picture = self.open(name)
        return repr((picture.mode, picture.size)).encode() + picture.tobytes()


def square(picture: Image.Image, size: int, interpolation: str = "bilinear", crop: float = 1.0) -> Tensor:
    """RGB uint8 (3, size, size): resized so that `crop` of the shorter side is `size` pixels, and the middle kept."""
    rgb = to_rgb(picture)
    width, height = rgb.size
    scale = size / crop / min(width, height)
    wanted = max(size, round(width * scale)), max(size, round(height * scale))
    rgb = rgb.resize(wanted, Image.Resampling[interpolation.upper()])
    left, top = (rgb.width - size) // 2, (rgb.height - size) // 2
    return torch.from_numpy(array_of(rgb.crop((left, top, left + size, top + size)))).permute(2, 0, 1)


def array_of(rgb: Image.Image) -> NDArray[np.uint8]:
    """The pixels of an RGB picture, (H, W, 3), to be written to."""
    return np.array(rgb, dtype=np.uint8)


def to_rgb(picture: Image.Image) -> Image.Image:
    """Upright RGB with 8 bits a channel. What is transparent becomes white; 16 bits are scaled, not clipped.

    Raises:
        ValueError: a picture of 32 bits or floats.
    """
    span = _white(picture) if picture.mode in WIDE else 255
    picture = ImageOps.exif_transpose(picture)
    if picture.mode in WIDE:
        values = np.asarray(picture, dtype=np.float64)
        picture = Image.fromarray((values.clip(0, span) * (255.0 / span)).astype(np.uint8))
    if picture.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in picture.info:
        picture = picture.convert("RGBA")
        white = Image.new("RGBA", picture.size, "white")
        picture = Image.alpha_composite(white, picture)
    return picture.convert("RGB")


def read_square(source: Source, name: str, size: int, interpolation: str = "bilinear", crop: float = 1.0) -> Tensor:
    """Decode and square one picture.

    Raises:
        DataError: the picture is damaged; the message names it.
    """
    return square(read_rgb(source, name), size, interpolation, crop)


def read_rgb(source: Source, name: str, shortest: int | None = None) -> Image.Image:
    """Decode one picture: upright RGB.

    Args:
        shortest: pixels of the shorter side that will do, as for `Source.open`.

    Raises:
        DataError: the picture is damaged; the message names it.
    """
    try:
        return to_rgb(source.open(name, shortest))
    except UNREADABLE as error:
        raise _unreadable(source, name, error) from error


def content_hash(source: Source, name: str) -> bytes:
    """sha256 of what one picture is made of.

    Raises:
        DataError: it can't be read; the message names it.
    """
    try:
        return hashlib.sha256(source.content(name)).digest()
    except UNREADABLE as error:
        raise _unreadable(source, name, error) from error


def _unreadable(source: Source, name: str, error: Exception) -> DataError:
    reason = str(error) or type(error).__name__
    return DataError(
        f"{source.where}: {name}: can't be read ({reason}); mend it or leave it out (adapt and eval: --skip-bad)"
    )


def _bytes_of(path: Path) -> bytes:
    with path.open("rb") as file:
        data = file.read(MOST_BYTES + 1)
    if len(data) > MOST_BYTES:
        raise OSError(TOO_LARGE)
    return data


def _decoded(data: bytes, shortest: int | None = None, formats: tuple[str, ...] | None = None) -> Image.Image:
    try:
        picture = Image.open(io.BytesIO(data), formats=formats)
        if shortest is not None and picture.format in DRAFTED and min(picture.size) > shortest:
            part = shortest / min(picture.size)
            picture.draft(None, (int(picture.width * part), int(picture.height * part)))
        picture.load()
    except UnidentifiedImageError as error:
        raise OSError("it is no picture of a type that Pillow knows") from error
    except DAMAGED_PICTURE as error:
        raise OSError(f"{type(error).__name__}: {error}") from error
    return picture


def _white(picture: Image.Image) -> float:
    """The value that is white in a picture of more than 8 bits, by its type."""
    if picture.mode == "F" or (picture.mode == "I" and picture.format not in SCALED):
        kind = "32-bit floats" if picture.mode == "F" else "32-bit or signed integers"
        raise ValueError(f"it holds {kind}, which have no white of their own: save it with 8 or 16 bits")
    bits = getattr(picture, "tag_v2", {}).get(BITS_PER_SAMPLE, (16,))[0]
    return float(2 ** min(bits, 16) - 1)


def _is_picture(name: str) -> bool:
    return PurePosixPath(name).suffix.lower() in READABLE


def _hidden(name: str) -> bool:
    return any(part.startswith(".") or part == "__MACOSX" for part in PurePosixPath(name).parts)
