"""Code of the user's own is found by its import path; what is wrong with one is said as the end of a sentence."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from nettailor.user_code import ImportPathError, import_path


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current directory; what is imported from it is forgotten afterwards."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry])
    monkeypatch.setattr(sys, "modules", dict(sys.modules))
    return tmp_path


def test_a_module_beside_the_user_is_found(here: Path) -> None:
    (here / "mine_of_user_code.py").write_text("def build():\n    return 7\n")
    assert import_path("mine_of_user_code:build")() == 7
    import_path("mine_of_user_code:build")
    assert sys.path.count(str(here)) == 1, "looked in once, after everything else"
    assert sys.path[-1] == str(here)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("no_such_module_at_all:build", "can't be imported (No module named 'no_such_module_at_all')"),
        ("json:no_such_name", "can't be imported (module 'json' has no attribute 'no_such_name')"),
        (":build", "can't be imported (Empty module name)"),
        ("broken_of_user_code:build", "can't be imported ("),
        ("json:__name__", "is a str, no callable"),
    ],
)
def test_what_is_wrong_is_said(here: Path, name: str, says: str) -> None:
    (here / "broken_of_user_code.py").write_text("def build(:\n")
    with pytest.raises(ImportPathError) as raised:
        import_path(name)
    assert str(raised.value).startswith(says)
