"""The nearest right word is found in one place, and said in one way."""

from __future__ import annotations

from pathlib import Path

import nettailor
from nettailor.errors import did_you_mean


def test_the_nearest_word_is_offered_and_otherwise_what_there_is() -> None:
    assert did_you_mean("adpt", ["adapt", "prune"]) == "; did you mean 'adapt'?"
    assert did_you_mean("--sed", ["--seed"], show=str) == "; did you mean --seed?"
    assert did_you_mean("zzz", {"adapt": 1}, "; there are adapt") == "; there are adapt"
    assert did_you_mean("zzz", ["adapt"]) == ""


def test_nothing_else_in_the_package_looks_for_near_words() -> None:
    root = Path(nettailor.__file__).parent
    assert [str(p.relative_to(root)) for p in root.rglob("*.py") if "difflib" in p.read_text()] == ["errors.py"]
