"""The page is one file that loads nothing, and no text from a run becomes markup or code in it."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from html.parser import HTMLParser

import pytest

from nettailor.views.block_diagram import GONE, INK, KEPT, OWN
from nettailor.views.html import page as page_module
from nettailor.views.html.page import SCRIPTS, render
from tests import pages

NASTY = "</script><img src=x onerror=\"document.title='stolen'\"><!-- &amp; \u2028 @SCRIPT@ @DATA@"


class Seen(HTMLParser):
    """Elements with their attributes, and the text inside of scripts and styles."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.inside: dict[str, list[str]] = {"script": [], "style": [], "title": []}
        self._open = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self._open = tag

    def handle_data(self, data: str) -> None:
        if self._open in self.inside:
            self.inside[self._open].append(data)

    def handle_endtag(self, tag: str) -> None:
        self._open = ""


def policy_of(seen: Seen) -> dict[str, str]:
    (content,) = [a["content"] for tag, a in seen.elements if a.get("http-equiv") == "Content-Security-Policy"]
    return dict(part.split(" ", 1) for part in str(content).split("; "))


def test_the_policy_allows_this_style_and_this_script_alone() -> None:
    seen = Seen(render(pages.page()))
    policy = policy_of(seen)
    assert policy["default-src"] == "'none'"
    assert policy["img-src"] == "data:"
    data, script = seen.inside["script"]
    (style,) = seen.inside["style"]
    for rule, text in (("script-src", script), ("style-src", style)):
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert policy[rule] == f"'sha256-{digest}'"
    assert json.loads(data)["version"] == "1.2.3"


def test_nothing_names_another_place() -> None:
    text = render(pages.page(blocks=60, tasks=3))
    assert re.findall(r"\w+://[\w./]+", text) == ["http://www.w3.org/2000/svg"], "the name of SVG, which is no address"
    assert not re.search(r"@import|url\(|\bfetch\(|XMLHttpRequest|WebSocket|\bimport\(|sendBeacon|EventSource", text)
    links = [(tag, a) for tag, a in Seen(text).elements if {"src", "href", "srcset", "style"} & set(a)]
    assert links == [("link", {"rel": "icon", "href": "data:,"})]


def test_no_script_makes_markup_of_text() -> None:
    for name in SCRIPTS:
        code = page_module._read(name)
        assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function", code), (
            name
        )


@pytest.mark.parametrize("mark", [NASTY, "]]>", "<!--<script>", '"quoted" \\u003c'])
def test_texts_of_a_run_stay_text(mark: str) -> None:
    text = render(pages.page(classes=[mark, "b"], name=mark))
    seen = Seen(text)
    plain = Seen(render(pages.page(classes=["a", "b"], name="a")))
    assert [tag for tag, _ in seen.elements] == [tag for tag, _ in plain.elements]
    assert policy_of(seen) == policy_of(plain)
    tree = json.loads(seen.inside["script"][0])
    assert tree["tasks"][0]["label"] == f"{mark} 0"
    assert tree["tasks"][0]["confusion"]["classes"] == [mark, "b"]
    assert "".join(seen.inside["title"]) == f"{mark} 0 over tiny"


def test_a_page_is_the_same_every_time() -> None:
    assert render(pages.page()) == render(pages.page())


def test_the_drawing_as_svg_has_the_colours_of_the_page() -> None:
    style = page_module._read("page.css")
    names = {"--ink": INK, "--universal": KEPT, "--gone": GONE, "--t0": OWN}
    assert all(f"{name}: {colour};" in style for name, colour in names.items())
