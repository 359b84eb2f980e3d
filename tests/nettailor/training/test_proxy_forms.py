"""Forms of proxy by name or import path."""

from __future__ import annotations

from pathlib import Path

import pytest

from blocks.proxies import AUTO, FORMS
from nettailor.errors import UsageError
from nettailor.training.proxy_forms import find_form


def test_a_form_by_import_path_is_known_by_that_path_from_then_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "forms_of_mine.py").write_text("def plain(site):\n    return 'built'\n")
    monkeypatch.chdir(tmp_path)
    path = "forms_of_mine:plain"
    assert path not in FORMS
    assert find_form(path) == path
    assert FORMS[path](None) == "built"  # type: ignore[arg-type]
    (tmp_path / "forms_of_mine.py").unlink()
    assert find_form(path) == path, "it is imported once"


def test_known_forms_are_themselves_and_unknown_ones_are_named() -> None:
    before = set(FORMS)
    assert [find_form(name) for name in (AUTO, *FORMS)] == [AUTO, *FORMS]
    with pytest.raises(UsageError, match="student.proxies: there is no 'conv1x2'; did you mean 'conv1x1'"):
        find_form("conv1x2")
    with pytest.raises(UsageError, match="student.proxies: 'no_such_package_here:form'"):
        find_form("no_such_package_here:form")
    assert set(FORMS) == before, "what can't be had is not made known"
