"""Pictures that are named one by one, by folder or by zip: all of them, in a stable order, and nothing else."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest
import torch
from PIL import Image

from blocks import InputSpec
from nettailor.data import images
from nettailor.data.gather import gather
from nettailor.data.images import square
from nettailor.errors import DataError, FileError

SPEC = InputSpec(8, (0.5,) * 3, (0.5,) * 3)


@pytest.fixture
def named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A picture, a folder of folders and a zip, each with something beside the pictures."""
    monkeypatch.chdir(tmp_path)
    for place, name in enumerate(
        ("one.png", "photos/b.jpg", "photos/a/deep/c.webp", "photos/a/2.bmp", "photos/.no.png")
    ):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (9, 8), (20 * place, 0, 0)).save(name)
    Path("photos/notes.txt").write_text("no picture")
    with zipfile.ZipFile("more.zip", "w") as archive:
        for name in ("z/2.png", "1.png", "__MACOSX/1.png", "readme.md"):
            archive.write("one.png", name)
    return ["more.zip", "photos", "one.png"]


def test_all_pictures_are_found_in_the_order_of_the_words_and_by_name_inside_each(named: list[str]) -> None:
    found = [picture.shown for picture in gather(named)]
    assert found == [
        *("more.zip/1.png", "more.zip/z/2.png"),
        *("photos/a/2.bmp", "photos/a/deep/c.webp", "photos/b.jpg"),
        "one.png",
    ]
    assert [Path(name).as_posix() for name in found[2:]] == found[2:]


def test_each_is_read_as_evaluation_reads_it(named: list[str]) -> None:
    for picture in gather(named):
        file = "one.png" if picture.shown.startswith("more.zip") else picture.shown
        with Image.open(file) as there:
            assert torch.equal(picture.read(SPEC), square(there, 8)), picture.shown


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("empty", None, "empty: is a folder without pictures"),
        ("none.zip", b"no zip", "none.zip: is no readable zip"),
        ("gone.zip", b"", "gone.zip: does not exist"),
    ],
)
def test_a_folder_or_zip_without_pictures_is_refused(
    tmp_path: Path, name: str, content: bytes | None, said: str
) -> None:
    if content is None:
        (tmp_path / name).mkdir()
    elif content:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(FileError, match=said):
        gather([tmp_path / name])
    with zipfile.ZipFile(tmp_path / "bare.zip", "w") as archive:
        archive.writestr("notes.txt", "no picture")
    with pytest.raises(FileError, match=r"bare\.zip: is a zip without pictures"):
        gather([tmp_path / "bare.zip"])


def test_what_a_file_says_of_its_size_is_not_believed(
    tmp_path: Path, named: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with zipfile.ZipFile("bomb.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("much.png", bytes(5000))
        archive.write("one.png", "small.png")
    Path("much.png").write_bytes(bytes(5000))
    monkeypatch.setattr(images, "MOST_BYTES", 4000)
    *bombs, small = [*gather(["much.png"]), *gather(["bomb.zip"])]
    for bomb in bombs:
        with pytest.raises(DataError, match="can't be read \\(it has more than"):
            bomb.read(SPEC)
    assert small.read(SPEC).shape == (3, 8, 8)
    liar = bytearray(Path("bomb.zip").read_bytes())
    entry = liar.index(b"PK\x01\x02")
    liar[entry + 24 : entry + 28] = (10).to_bytes(4, "little")  # inflated it has 10 bytes, it says
    Path("liar.zip").write_bytes(liar)
    with pytest.raises(DataError, match="can't be read"):
        gather(["liar.zip"])[0].read(SPEC)


def test_a_picture_of_too_many_pixels_is_not_decoded(named: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 30)
    with pytest.raises(DataError, match="can't be read \\(Image size \\(72 pixels\\) exceeds limit"):
        gather(["one.png"])[0].read(SPEC)


@pytest.mark.parametrize(
    ("name", "said"),
    [("gone.png", "No such file or directory"), ("more.jpg", "it is no picture of a type that Pillow knows")],
)
def test_a_single_file_that_is_no_picture_says_so_when_it_is_read(named: list[str], name: str, said: str) -> None:
    Path("more.jpg").write_bytes(Path("more.zip").read_bytes())
    with pytest.raises(DataError, match=f"^can't be read \\({said}\\)$"):
        gather([name])[0].read(SPEC)
