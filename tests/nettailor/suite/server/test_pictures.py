"""Pictures from strangers: the same pixels as from a file, and no bomb is decoded."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("fastapi")
pytest.importorskip("prometheus_client")
pytest.importorskip("python_multipart")
pytest.importorskip("uvicorn")
import torch
from PIL import Image, ImageFile

from blocks import InputSpec
from nettailor.data.images import FileSource, read_square
from nettailor.suite.server.pictures import BadPicture, square_of
from tests.nettailor.suite.server.served import png

SPEC = InputSpec(32, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5), "bicubic", 0.875)
MOST = 1_000_000


def encoded(picture: Image.Image, kind: str, **more: object) -> bytes:
    file = io.BytesIO()
    picture.save(file, kind, **more)
    return file.getvalue()


def colours(width: int = 71, height: int = 45) -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8))


def turned() -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6
    return encoded(colours(), "JPEG", exif=exif)


KINDS = {
    "png": encoded(colours(), "PNG"),
    "jpeg": encoded(colours(), "JPEG"),
    "turned jpeg": turned(),
    "cmyk jpeg": encoded(colours().convert("CMYK"), "JPEG"),
    "palette gif": encoded(colours().quantize(16), "GIF"),
    "alpha png": encoded(Image.merge("RGBA", [*colours().split(), colours().convert("L")]), "PNG"),
    "16 bit png": encoded(Image.fromarray((np.arange(2500, dtype=np.uint16) * 26).reshape(50, 50)), "PNG"),
    "1 bit tiff": encoded(colours().convert("1"), "TIFF"),
    "bmp": encoded(colours(), "BMP"),
    "ppm": encoded(colours(), "PPM"),
    "webp": encoded(colours(), "WEBP"),
}


@pytest.mark.parametrize("kind", KINDS)
def test_the_pixels_are_those_that_predict_reads_from_a_file(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "picture"
    path.write_bytes(KINDS[kind])
    wanted = read_square(FileSource(path), "picture", SPEC.size, SPEC.interpolation, SPEC.crop)
    assert torch.equal(square_of(KINDS[kind], SPEC, MOST), wanted)


def png_of(width: int, height: int) -> bytes:
    """A PNG that promises so many pixels and holds hardly any."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(bytes(99))) + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("width", "height"),
    [(1001, 1000), (60_000, 60_000), (2**31 - 1, 2**31 - 1), (1, 1000), (100_000, 9)],
    ids=["one row too many", "bomb", "largest", "long and narrow", "wide and low"],
)
@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_bombs_are_refused_before_a_pixel_is_decoded(width: int, height: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ImageFile.ImageFile, "load", lambda self: pytest.fail("decoded"))
    with pytest.raises(BadPicture) as refused:
        square_of(png_of(width, height), SPEC, MOST)
    assert refused.value.status == 413


def test_a_picture_at_the_limit_is_read() -> None:
    assert square_of(png(7, (1000, 1000)), SPEC, MOST).shape == (3, 32, 32)


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"", 415),
        (b"no picture", 415),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n", 415),
        (KINDS["png"][:300], 422),
        (KINDS["jpeg"][:300], 422),
        (KINDS["png"][:20], 422),
        (encoded(Image.new("F", (8, 8)), "TIFF"), 422),
    ],
    ids=["empty", "text", "postscript", "cut png", "cut jpeg", "cut head", "floats"],
)
def test_what_is_no_whole_picture_is_refused(data: bytes, status: int) -> None:
    with pytest.raises(BadPicture) as refused:
        square_of(data, SPEC, MOST)
    assert refused.value.status == status
    assert refused.value.problem
    assert "\n" not in refused.value.problem


def test_a_picture_without_pixels_is_refused() -> None:
    assert fate(png_of(0, 5)) in (415, 422), "by Pillow itself, if it is a new one"


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
def test_random_damage_never_raises_anything_else() -> None:
    draw = np.random.default_rng(1)
    for data in KINDS.values():
        for _ in range(20):
            damaged = bytearray(data)
            for place in draw.integers(0, min(len(data), 400), 6):
                damaged[place] = draw.integers(256)
            assert fate(bytes(damaged)) in ("read", 413, 415, 422)


def fate(data: bytes) -> str | int:
    try:
        return "read" if square_of(data, SPEC, MOST).shape == (3, 32, 32) else "of another shape"
    except BadPicture as refused:
        return refused.status
