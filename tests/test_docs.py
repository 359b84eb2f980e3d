"""Nothing in the repository cites a page or file that is not in it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "nettailor").rglob("*.md")])
CODE = sorted(path for room in ("blocks", "nettailor", "recipes", "tests") for path in (ROOT / room).rglob("*.py"))
OTHERS = re.compile("|".join(("DES" + "IGN", "STY" + "LE", "sha" + r"red/")))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_of_a_page_leads_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)#\s]+)", page.read_text(encoding="utf-8"))
    missing = [link for link in links if "://" not in link and not (page.parent / link).exists()]
    assert not missing


def test_every_file_that_code_cites_is_there() -> None:
    cited = {
        (path, name)
        for path in CODE
        for name in re.findall(r"(?<![\w/])(?:docs|tests)/[\w/]+\.(?:md|py)\b", path.read_text(encoding="utf-8"))
    }
    assert (ROOT / "nettailor/training/losses.py", "docs/how_it_works.md") in cited
    missing = sorted(f"{path.relative_to(ROOT)}: {name}" for path, name in cited if not (ROOT / name).is_file())
    assert not missing


def test_no_page_of_another_place_is_cited() -> None:
    found = [path.relative_to(ROOT) for path in (*PAGES, *CODE) if OTHERS.search(path.read_text(encoding="utf-8"))]
    assert not found
