"""Every kind of picture becomes an RGB square; a damaged one is named."""

from __future__ import annotations

import io
import os
import pickle
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from nettailor.data.images import FolderSource, ZipSource, content_hash, read_rgb, read_square, square
from nettailor.errors import DataError, FileError

RAMP = np.linspace(0, 255, 64 * 48).reshape(48, 64)
GRAY = Image.fromarray(RAMP.astype(np.uint8))


def sixteen_bit() -> Image.Image:
    return Image.fromarray((RAMP * 257).astype(np.uint16))


def transparent() -> Image.Image:
    picture = GRAY.convert("RGBA")
    picture.putalpha(Image.new("L", picture.size, 0))
    return picture


LOOKS_ALIKE = {
    "gray.png": GRAY,
    "rgb.png": GRAY.convert("RGB"),
    "rgba.png": GRAY.convert("RGBA"),
    "sixteen.png": sixteen_bit(),
    "sixteen.tif": sixteen_bit(),
    "cmyk.jpg": GRAY.convert("CMYK"),
    "palette.png": GRAY.convert("P"),
    "gray.jpg": GRAY,
    "la.png": GRAY.convert("LA"),
}


@pytest.mark.parametrize("name", LOOKS_ALIKE)
def test_every_mode_gives_the_same_picture(tmp_path: Path, name: str) -> None:
    LOOKS_ALIKE[name].save(tmp_path / name)
    pixels = read_square(FolderSource(tmp_path), name, 32)
    assert pixels.shape == (3, 32, 32)
    assert pixels.dtype == torch.uint8
    difference = (pixels.float() - square(GRAY, 32).float()).abs()
    assert float(difference.mean()) < 3, "scaled, not clipped, whatever the mode"


def twelve_bit(path: Path) -> None:
    """A TIFF of 12 bits a pixel, two pixels in three bytes, which Pillow reads but does not write."""
    values = (RAMP / 255 * 4095).round().astype(int).ravel()
    pairs = [(int(a), int(b)) for a, b in zip(values[::2], values[1::2], strict=True)]
    pixels = b"".join(bytes((a >> 4, (a & 15) << 4 | b >> 8, b & 255)) for a, b in pairs)
    tags = [(256, 4, 64), (257, 4, 48), (258, 3, 12), (259, 3, 1), (262, 3, 1), (273, 4, 8), (277, 3, 1)]
    tags += [(278, 4, 48), (279, 4, len(pixels))]
    entries = b"".join(struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in tags)
    head = struct.pack("<2sHI", b"II", 42, 8 + len(pixels))
    path.write_bytes(head + pixels + struct.pack("<H", len(tags)) + entries + bytes(4))


def test_twelve_bits_are_scaled_by_their_type(tmp_path: Path) -> None:
    twelve_bit(tmp_path / "twelve.tif")
    pixels = read_square(FolderSource(tmp_path), "twelve.tif", 32)
    assert float((pixels.float() - square(GRAY, 32).float()).abs().mean()) < 3


@pytest.mark.parametrize("name", ["dark.png", "dark.tif", "dark.pgm"])
def test_a_dark_picture_of_16_bits_stays_dark(tmp_path: Path, name: str) -> None:
    """Its own largest value must not decide what is white."""
    Image.fromarray(np.full((16, 16), 200, dtype=np.uint16)).save(tmp_path / name)
    assert int(read_square(FolderSource(tmp_path), name, 16).max()) <= 1


@pytest.mark.parametrize(
    ("name", "pixels"),
    [
        ("float.tif", RAMP.astype(np.float32)),
        ("unit.tif", (RAMP / 255).astype(np.float32)),
        ("long.tif", RAMP.astype(np.int32)),
        ("wide.tif", (RAMP * 257).astype(np.int32)),
    ],
)
def test_32_bits_are_refused_with_a_remedy(tmp_path: Path, name: str, pixels: np.ndarray) -> None:
    Image.fromarray(pixels).save(tmp_path / name)
    with pytest.raises(DataError, match=rf"{name}: can't be read \(it holds 32-bit .* save it with 8 or 16 bits\)"):
        read_square(FolderSource(tmp_path), name, 32)


def test_one_bit_and_one_pixel_pictures_work(tmp_path: Path) -> None:
    Image.new("1", (9, 5), 1).save(tmp_path / "bit.png")
    Image.new("RGB", (1, 1), (200, 100, 50)).save(tmp_path / "dot.png")
    assert (read_square(FolderSource(tmp_path), "bit.png", 16) == 255).all()
    assert read_square(FolderSource(tmp_path), "dot.png", 16)[:, 3, 3].tolist() == [200, 100, 50]


def test_what_is_transparent_becomes_white(tmp_path: Path) -> None:
    transparent().save(tmp_path / "clear.png")
    palette = Image.new("P", (8, 8), 0)
    palette.save(tmp_path / "clear.gif", transparency=0)
    assert (read_square(FolderSource(tmp_path), "clear.png", 16) == 255).all()
    assert (read_square(FolderSource(tmp_path), "clear.gif", 16) == 255).all()


def test_the_middle_of_a_long_picture_is_kept() -> None:
    picture = Image.new("RGB", (90, 30), "black")
    picture.paste("white", (30, 0, 60, 30))
    assert (square(picture, 30) == 255).all()


def test_a_truncated_jpeg_is_named(tmp_path: Path) -> None:
    data = io.BytesIO()
    GRAY.convert("RGB").save(data, "JPEG")
    (tmp_path / "half.jpg").write_bytes(data.getvalue()[: len(data.getvalue()) // 2])
    (tmp_path / "text.png").write_text("not a picture")
    (tmp_path / "empty.png").write_bytes(b"")
    for name in ("half.jpg", "text.png", "empty.png"):
        with pytest.raises(DataError, match=name):
            read_square(FolderSource(tmp_path), name, 16)


@pytest.mark.parametrize("damage", ["stream", "method", "password", "cut"])
def test_a_damaged_member_of_a_zip_is_named(tmp_path: Path, damage: str) -> None:
    data = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 256, (40, 40), dtype=np.uint8)
    Image.fromarray(noise).save(data, "BMP")
    with zipfile.ZipFile(tmp_path / "d.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/whole.bmp", data.getvalue())
        archive.writestr("b/broken.bmp", data.getvalue())
        inside, directory = archive.infolist()[1].header_offset, archive.start_dir
    packed = bytearray((tmp_path / "d.zip").read_bytes())
    entry = packed.index(b"PK\x01\x02", packed.index(b"PK\x01\x02", directory) + 4)
    if damage == "stream":
        packed[inside + 42 : inside + 92] = b"\xff" * 50
    elif damage == "method":
        packed[entry + 10] = packed[inside + 8] = 77
    elif damage == "password":
        packed[entry + 8] |= 1
        packed[inside + 6] |= 1
    else:
        packed[entry + 20 : entry + 24] = (30).to_bytes(4, "little")  # the compressed size
    (tmp_path / "d.zip").write_bytes(packed)
    source = ZipSource(tmp_path / "d.zip")
    assert read_square(source, "a/whole.bmp", 16).shape == (3, 16, 16)
    for read in (lambda: read_square(source, "b/broken.bmp", 16), lambda: content_hash(source, "b/broken.bmp")):
        with pytest.raises(DataError, match=r"d.zip: b/broken.bmp: can't be read \("):
            read()


def test_zip_and_folder_give_the_same_pictures(digit_folder: Path, tmp_path: Path) -> None:
    folder = FolderSource(digit_folder)
    with zipfile.ZipFile(tmp_path / "d.zip", "w") as archive:
        for name in folder.names:
            archive.write(digit_folder / name, name)
        archive.writestr("__MACOSX/train/x.png", b"")
        archive.writestr("train/digit 0/.hidden.png", b"")
    packed = ZipSource(tmp_path / "d.zip")
    assert packed.names == folder.names
    assert packed.folders == folder.folders
    name = folder.names[5]
    assert torch.equal(read_square(folder, name, 32), read_square(packed, name, 32))


def test_a_damaged_zip_is_named(tmp_path: Path) -> None:
    (tmp_path / "bad.zip").write_bytes(b"PK\x03\x04 nothing more")
    with pytest.raises(FileError, match="bad.zip"):
        ZipSource(tmp_path / "bad.zip")


def test_a_crop_keeps_the_middle_and_the_interpolation_is_the_one_that_is_asked_for() -> None:
    frame = np.zeros((40, 40, 3), dtype=np.uint8)
    frame[10:30, 10:30] = 255  # the middle half
    picture = Image.fromarray(frame)
    assert (square(picture, 20, "nearest", 0.5) == 255).all()
    assert 0.2 < (square(picture, 20, "nearest", 1.0) == 255).float().mean() < 0.3
    sharp, soft = (square(GRAY, 20, name) for name in ("nearest", "bicubic"))
    assert not torch.equal(sharp, soft)


def test_training_and_prediction_see_a_picture_alike(tmp_path: Path) -> None:
    from blocks import InputSpec
    from nettailor.data.task import load_task

    for split in ("train", "val", "test"):
        for label in ("a", "b"):
            (tmp_path / split / label).mkdir(parents=True)
            GRAY.save(tmp_path / split / label / "1.png")
    spec = InputSpec(16, (0.5,) * 3, (0.5,) * 3, "bicubic", 0.5)
    seen = load_task(str(tmp_path), spec).test.batch(torch.tensor([0]))[0]
    assert torch.equal(seen, square(GRAY, 16, "bicubic", 0.5))
    assert not torch.equal(seen, square(GRAY, 16))


COLOURS = Image.fromarray(np.stack([RAMP, RAMP[::-1], RAMP[:, ::-1]], -1).astype(np.uint8)).resize((640, 480))


@pytest.mark.parametrize(
    ("shortest", "size"),
    [(None, (640, 480)), (481, (640, 480)), (300, (640, 480)), (240, (320, 240)), (60, (80, 60)), (5, (80, 60))],
)
def test_a_large_jpeg_is_decoded_no_larger_than_it_must_be(
    tmp_path: Path, shortest: int | None, size: tuple[int, int]
) -> None:
    COLOURS.save(tmp_path / "large.jpg", quality=95)
    found = read_rgb(FolderSource(tmp_path), "large.jpg", shortest)
    assert (found.mode, found.size) == ("RGB", size)
    wanted = np.asarray(COLOURS.resize(size, Image.Resampling.BOX), dtype=float)
    assert np.abs(np.asarray(found, dtype=float) - wanted).mean() < 3


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_jpeg_that_lies_on_its_side_is_upright_at_any_size(tmp_path: Path, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    COLOURS.save(tmp_path / "side.jpg", quality=95, exif=exif)
    whole, small = (read_rgb(FolderSource(tmp_path), "side.jpg", shortest) for shortest in (None, 100))
    assert whole.size == ((480, 640) if orientation > 4 else (640, 480))
    assert small.size == ((120, 160) if orientation > 4 else (160, 120))
    difference = np.asarray(whole.resize(small.size, Image.Resampling.BOX), dtype=float) - np.asarray(small)
    assert np.abs(difference).mean() < 3


@pytest.mark.parametrize("name", [*LOOKS_ALIKE, "gray.mpo"])
def test_every_kind_of_picture_can_be_asked_for_at_less(tmp_path: Path, name: str) -> None:
    picture = LOOKS_ALIKE.get(name, GRAY.convert("RGB"))
    if name.endswith(".mpo"):
        picture.save(tmp_path / name, "MPO", save_all=True, append_images=[picture])
    else:
        picture.save(tmp_path / name)
    found = read_rgb(FolderSource(tmp_path), name, 20)
    assert found.mode == "RGB"
    assert found.size == ((32, 24) if name.endswith((".jpg", ".mpo")) else (64, 48))
    wanted = np.asarray(GRAY.resize(found.size, Image.Resampling.BOX), dtype=float)
    assert np.abs(np.asarray(found, dtype=float).mean(-1) - wanted).mean() < 3


def test_a_damaged_jpeg_is_named_at_any_size(tmp_path: Path) -> None:
    data = io.BytesIO()
    COLOURS.save(data, "JPEG")
    (tmp_path / "half.jpg").write_bytes(data.getvalue()[: len(data.getvalue()) // 2])
    with pytest.raises(DataError, match=r"half.jpg: can't be read \(.*; mend it or leave it out"):
        read_rgb(FolderSource(tmp_path), "half.jpg", 60)


def test_a_zip_is_opened_anew_by_each_process_and_can_be_sent_to_one(digit_folder: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "d.zip", "w") as archive:
        for name in FolderSource(digit_folder).names:
            archive.write(digit_folder / name, name)
    source = ZipSource(tmp_path / "d.zip")
    first, opened = source.content(source.names[0]), source._opened
    assert source._opened is opened
    sent = pickle.loads(pickle.dumps(source))
    assert sent._opened is None
    assert sent.content(source.names[0]) == first
    if (child := os.fork()) == 0:
        source.content(source.names[0])
        os._exit(0 if source._opened is not opened and source._opened[0] == os.getpid() else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert source._opened is opened
    (tmp_path / "d.zip").unlink()
    with pytest.raises(DataError, match=r"d.zip: .*: can't be read \("):
        read_rgb(pickle.loads(pickle.dumps(source)), source.names[0])
