"""`nettailor predict` says a line for each picture, in several formats; a bad one costs the others nothing."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import sys
import zipfile
from pathlib import Path

import pytest
from PIL import Image

from tests.conftest import CommandLine
from tests.fabricated import TINY


@pytest.mark.parametrize(("top", "shown"), [("2", 2), ("0", 1)])
def test_pictures_stand_in_a_column_with_their_classes(
    nettailor: CommandLine, delta_folder: Path, top: str, shown: int
) -> None:
    for name in ("a.png", "longer.png"):
        Image.new("RGB", (16, 16), "red").save(name)
    status, said, err = nettailor(
        "predict", delta_folder, "a.png", "bad.png", "longer.png", "--backbone", TINY, "--top", top
    )
    assert status == 1
    assert err.startswith("nettailor: ")
    assert "bad.png" in err
    one, other = said.splitlines()
    assert one.startswith("a.png       ")
    assert other.startswith("longer.png  ")
    assert len(re.findall(r"(cat|dog|emu) [01]\.\d{3}", one)) == shown
    assert nettailor("predict", delta_folder, "a.png", "--backbone", TINY)[0] == 0


@pytest.fixture
def photos(nettailor: CommandLine) -> list[str]:
    """A folder and a zip, one bad picture in each, beside a picture; named for the command line."""
    Path("photos/deep").mkdir(parents=True)
    for place, name in enumerate(("photos/2.png", "photos/deep/1.png", "one.png")):
        Image.new("RGB", (16, 16), (90 * place, 0, 0)).save(name)
    Path("photos/bad.png").write_text("no picture")
    with zipfile.ZipFile("more.zip", "w") as archive:
        archive.write("one.png", "a, b.png")
        archive.writestr("bad.png", "no picture")
    return ["photos", "more.zip", "one.png"]


NAMES = ["photos/2.png", "photos/bad.png", "photos/deep/1.png", "more.zip/a, b.png", "more.zip/bad.png", "one.png"]


@pytest.mark.parametrize(("form", "out"), [("csv", None), ("csv", "made/answers"), ("jsonl", "-")])
def test_records_say_the_same_in_a_file_and_on_the_screen(
    nettailor: CommandLine, delta_folder: Path, photos: list[str], form: str, out: str | None
) -> None:
    words = ["predict", delta_folder, *photos, "--backbone", TINY, "--top", "2", "--format", form]
    status, said, err = nettailor(*words, *(["--out", out] if out else []))
    assert status == 1
    assert [line.split(": can't be read")[0] for line in err.splitlines()] == [
        f"nettailor: {n}" for n in NAMES if "bad" in n
    ]
    if out == "made/answers":
        assert said == "6 pictures (2 can't be read) into made/answers\n"
        assert [path.name for path in Path("made").iterdir()] == ["answers"]
        said = Path(out).read_text()
    rows = (
        list(csv.DictReader(io.StringIO(said))) if form == "csv" else [json.loads(line) for line in said.splitlines()]
    )
    assert [row["image"] for row in rows] == NAMES
    for row in rows:
        assert list(row) == ["image", "class", "probability", "class_2", "probability_2", "error"]
        assert bool(row["error"]) == (not row["class"]) == ("bad" in row["image"])
        if not row["error"]:
            assert float(row["probability"]) >= float(row["probability_2"]) > 0
            assert {row["class"], row["class_2"]} < {"cat", "dog", "emu"}


def test_the_suffix_of_the_file_says_the_format(nettailor: CommandLine, delta_folder: Path, photos: list[str]) -> None:
    words = ["predict", delta_folder, "one.png", "--backbone", TINY, "--out"]
    assert nettailor(*words, "a.CSV")[0] == 0
    assert nettailor(*words, "a.jsonl")[0] == 0
    assert Path("a.CSV").read_text().startswith("image,class,probability,error\none.png,")
    assert json.loads(Path("a.jsonl").read_text())["image"] == "one.png"
    assert "--format" in nettailor.fails(*words, "a.txt", status=2)
    assert nettailor(*words, "a.txt", "--format", "text")[0] == 0
    assert Path("a.txt").read_text().startswith("one.png  ")


def test_a_file_that_must_not_be_replaced_is_refused_before_any_work(
    nettailor: CommandLine, delta_folder: Path, photos: list[str]
) -> None:
    words = ["predict", delta_folder, *photos, "--backbone", "no_such", "--format", "csv", "--out"]
    for name in ("one.png", "./photos/deep/1.png", "more.zip"):
        before = Path(name).read_bytes()
        assert "is one of the pictures" in nettailor.fails(*words, name)
        assert Path(name).read_bytes() == before
    assert "is a folder" in nettailor.fails(*words, "photos")


def test_what_has_no_pictures_is_refused(nettailor: CommandLine, delta_folder: Path, photos: list[str]) -> None:
    Path("empty").mkdir()
    Path("none.zip").write_text("no zip")
    words = ["predict", delta_folder, "one.png", "--backbone", TINY, "--out", "a.csv"]
    assert "empty: is a folder without pictures" in nettailor.fails(*words, "empty")
    assert "none.zip: is no readable zip" in nettailor.fails(*words, "none.zip")
    assert not Path("a.csv").exists()


def test_a_file_named_like_an_option(nettailor: CommandLine, delta_folder: Path, photos: list[str]) -> None:
    Path("-one.png").write_bytes(Path("one.png").read_bytes())
    assert "write ./-one.png" in nettailor.fails("predict", delta_folder, "-one.png", status=2)
    assert nettailor("predict", delta_folder, "--backbone", TINY, "./-one.png")[0] == 0
    assert nettailor("predict", delta_folder, "--backbone", TINY, "--", "-one.png")[0] == 0


def test_a_name_can_not_steer_the_terminal(nettailor: CommandLine, delta_folder: Path, photos: list[str]) -> None:
    with zipfile.ZipFile("odd.zip", "w") as archive:
        archive.write("one.png", "\x1b[2Jred.png")
        archive.writestr("\x1b[2Jbad.png", "no picture")
    Path(os.fsdecode(b"\xff.png")).write_bytes(Path("one.png").read_bytes())
    names = ["odd.zip", os.fsdecode(b"\xff.png")]
    _, said, err = nettailor("predict", delta_folder, *names, "--backbone", TINY)
    assert "\\x1b[2Jred.png" in said
    assert "\x1b" not in said + err
    said.encode()
    assert nettailor("predict", delta_folder, *names, "--backbone", TINY, "--out", "a.jsonl")[0] == 1
    rows = [json.loads(line) for line in Path("a.jsonl").read_text().splitlines()]
    assert rows[1]["image"] == "odd.zip/\x1b[2Jred.png", "programs get the name as it is"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_bar_is_shown_on_a_terminal_alone_and_not_in_what_is_piped(
    nettailor: CommandLine, delta_folder: Path, photos: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    words = ["predict", delta_folder, *["one.png"] * 25, "--backbone", TINY, "--format", "csv"]
    _, plain, err = nettailor(*words)
    assert err == ""
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    _, said, _ = nettailor(*words)
    assert said == plain
    assert "predict" in terminal.getvalue()
    assert "/25" in terminal.getvalue()
    assert "one.png" not in terminal.getvalue()
    seen = len(terminal.getvalue())
    nettailor(*words[:3], "--backbone", TINY)
    assert len(terminal.getvalue()) == seen, "no bar for one picture"
