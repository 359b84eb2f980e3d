"""Shipped recipes and procedures are found by their names, and files by their paths."""

from __future__ import annotations

from pathlib import Path

import pytest

from nettailor.config import library
from nettailor.config.library import find_recipe, headline, procedure_module, shipped_procedures, shipped_recipes
from nettailor.errors import UsageError


@pytest.fixture
def shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of recipes of our own in the place of the shipped one."""
    (tmp_path / "shelf" / "inner").mkdir(parents=True)
    for name in ("plain.yaml", "inner/deep.yaml", "tool.py", "inner/_part.py", "inner/__init__.py", "inner/bench.py"):
        (tmp_path / "shelf" / name).touch()
    monkeypatch.setattr(library, "recipe_folder", lambda: tmp_path / "shelf")
    monkeypatch.chdir(tmp_path)
    return tmp_path / "shelf"


def test_recipes_are_named_by_their_path_and_procedures_by_their_file(shelf: Path) -> None:
    assert shipped_recipes() == {"inner/deep": shelf / "inner/deep.yaml", "plain": shelf / "plain.yaml"}
    assert shipped_procedures() == {"bench": shelf / "inner/bench.py", "tool": shelf / "tool.py"}
    assert (procedure_module("bench"), procedure_module("tool")) == ("recipes.inner.bench", "recipes.tool")


def test_a_shipped_name_goes_before_a_file_of_the_same_name(shelf: Path) -> None:
    Path("plain").touch()
    Path("mine.yaml").touch()
    assert find_recipe("plain") == shelf / "plain.yaml"
    assert find_recipe("inner/deep") == shelf / "inner/deep.yaml"
    assert find_recipe("mine.yaml") == Path("mine.yaml")
    assert find_recipe("./plain") == Path("./plain")


@pytest.mark.parametrize(
    ("name", "says"), [("plan", "; did you mean 'plain'?"), ("something else", "; there are inner/deep, plain")]
)
def test_an_unknown_name_gets_the_nearest_one(shelf: Path, name: str, says: str) -> None:
    with pytest.raises(UsageError) as raised:
        find_recipe(name)
    assert str(raised.value) == f"--recipe {name}: no such file or shipped recipe{says}"


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("#\n# What it is for.\n# More.\nseed: 3\n", "What it is for."),
        ('"""What it is for.\n\nMore.\n"""\n', "What it is for."),
        ('"""What it is for."""\nimport os\n', "What it is for."),
        ("\n\n", ""),
    ],
)
def test_a_headline_is_the_first_line_of_text(tmp_path: Path, text: str, line: str) -> None:
    (tmp_path / "some").write_text(text)
    assert headline(tmp_path / "some") == line
