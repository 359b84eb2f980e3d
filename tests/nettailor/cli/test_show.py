"""`nettailor show` prints the kept blocks, and draws them where it is asked to."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

from tests.conftest import CommandLine
from tests.fabricated import TINY


def test_the_kept_graph_is_printed_and_drawn(nettailor: CommandLine, delta_folder: Path) -> None:
    status, said, err = nettailor("show", delta_folder, "--backbone", TINY, "--svg", "some.svg")
    assert status == 0, err
    assert "birds over" in said
    assert said.count("removed") == 1
    assert said.endswith("drawn into some.svg\n")
    assert ElementTree.parse("some.svg").getroot().tag.endswith("svg")


def test_code_that_only_the_delta_names_is_not_imported(nettailor: CommandLine, delta_folder: Path) -> None:
    assert "is code to import; name it yourself with --backbone" in nettailor.fails("show", delta_folder)
