"""`nettailor show` prints the kept blocks, and draws them where it is asked to."""

from __future__ import annotations

import shutil
from pathlib import Path
from xml.etree import ElementTree

from tests import pages
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


def test_runs_are_written_as_one_page(nettailor: CommandLine, delta_folder: Path, tmp_path: Path) -> None:
    run = pages.finished_run(tmp_path / "digits", tmp_path / "pictures").root
    words = ("--backbone", TINY, "--html", "out/some.html")
    status, said, err = nettailor("show", run, delta_folder, *words)
    assert status == 0, err
    assert "digits over" in said
    assert "birds over" in said
    assert said.endswith("page written into out/some.html\n")
    text = Path("out/some.html").read_text(encoding="utf-8")
    assert text.startswith("<!DOCTYPE html>")
    assert f"<title>digits, birds over {TINY}</title>" in text
    assert text.count("data:image/png") == 2


def test_each_of_several_runs_gets_a_folder_for_tensorboard(
    nettailor: CommandLine, delta_folder: Path, tmp_path: Path
) -> None:
    run = pages.finished_run(tmp_path / "digits", tmp_path / "pictures").root
    again = shutil.copytree(delta_folder, "again")
    status, _, err = nettailor("show", run, delta_folder, again, "--backbone", TINY, "--tensorboard", "board")
    assert status == 0, err
    assert sorted(path.name for path in Path("board").iterdir()) == ["birds", "birds-2", "digits"]


def test_one_drawing_is_of_one_run(nettailor: CommandLine, delta_folder: Path) -> None:
    said = nettailor.fails("show", delta_folder, delta_folder / ".", "--svg", "x.svg", "--backbone", TINY, status=2)
    assert "--svg draws one run; name one, or write a page about several with --html FILE" in said
    assert not Path("x.svg").exists()


def test_a_page_that_cannot_be_written_is_named(nettailor: CommandLine, delta_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    said = nettailor.fails("show", delta_folder, "--backbone", TINY, "--html", "file/page.html")
    assert "file/page.html: can't be written" in said
