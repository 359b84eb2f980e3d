"""Bytes to the square that a network reads, the very pixels that `nettailor predict` takes of the same file.

bytes -> header: format, width, height -> decoded only if both are taken -> uint8 (3, S, S)
"""

from __future__ import annotations

import io

from PIL import Image, UnidentifiedImageError
from torch import Tensor

from blocks import InputSpec
from nettailor.data.images import DAMAGED_PICTURE, UNREADABLE, BytesSource, read_square
from nettailor.errors import DataError

FORMATS = tuple(kind for kind in ("AVIF", "BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP") if kind in Image.OPEN)
"""Of all that Pillow reads: pictures, and none that starts another program (EPS) or needs other files."""


class BadPicture(Exception):
    """A picture that can't be answered: an HTTP status, and a plain line without the picture's name."""

    def __init__(self, status: int, problem: str) -> None:
        super().__init__(problem)
        self.status = status
        self.problem = problem


def square_of(data: bytes, spec: InputSpec, max_pixels: int) -> Tensor:
    """uint8 (3, S, S) of a picture's bytes.

    Raises:
        BadPicture: 413 too many pixels, 415 another format, 422 damaged.
    """
    width, height = _size(data)
    if not width or not height:
        raise BadPicture(422, f"{width} x {height} pixels are none")
    scale = spec.size / spec.crop / min(width, height)
    resized = max(spec.size, width * scale) * max(spec.size, height * scale)
    if max(width * height, resized) > max_pixels:
        raise BadPicture(
            413,
            f"{width} x {height} pixels, with its shorter side resized to {spec.size / spec.crop:.0f}, "
            f"are more than {max_pixels / 1e6:g} million",
        )
    source = BytesSource({"picture": data}, FORMATS)
    try:
        return read_square(source, "picture", spec.size, spec.interpolation, spec.crop)
    except DataError as error:
        raise BadPicture(422, f"can't be read ({error.__cause__})") from error


def _size(data: bytes) -> tuple[int, int]:
    """Width and height by the picture's own header: nothing is decoded."""
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as picture:
            return picture.size
    except Image.DecompressionBombError as error:
        raise BadPicture(413, "it has too many pixels") from error
    except UnidentifiedImageError as error:
        raise BadPicture(415, f"is no picture of a known format ({', '.join(FORMATS)})") from error
    except (*UNREADABLE, *DAMAGED_PICTURE) as error:
        raise BadPicture(422, f"can't be read ({error})") from error
