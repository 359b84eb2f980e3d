"""`nettailor predict` prints a line for each picture, and a bad one costs the others nothing but the exit status."""

from __future__ import annotations

import re
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
