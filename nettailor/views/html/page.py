"""The page as one file: template, style and script of this folder around the data.

    PageData -> render -> HTML text

A content security policy allows this style and this script, by their hashes, and pictures that are in the page itself;
everything else is refused by the browser, so nothing is fetched and no text from a run can become code. The script builds
every element itself and sets text as text.
"""

from __future__ import annotations

import base64
import hashlib
from html import escape
from importlib.resources import files

from nettailor.views.html.data import PageData

SCRIPTS = ("dom.js", "tooltip.js", "graph.js", "front.js", "matrix.js", "figures.js", "page.js")


def render(data: PageData) -> str:
    """The page as text."""
    style = "\n" + _read("page.css")
    script = '\n"use strict";\n' + "\n".join(_read(name) for name in SCRIPTS)
    policy = "; ".join(
        (
            "default-src 'none'",
            f"script-src '{_hash(script)}'",
            f"style-src '{_hash(style)}'",
            "img-src data:",
            "base-uri 'none'",
            "form-action 'none'",
        )
    )
    tasks = ", ".join(task.label for task in data.tasks)
    parts = {
        "@POLICY@": policy,
        "@TITLE@": escape(f"{tasks} over {data.backbone.name}"),
        "@CSS@": style,
        "@DATA@": data.to_json(),
        "@SCRIPT@": script,
    }
    before, page = "", _read("page.html")
    for (
        mark,
        text,
    ) in parts.items():  # in their order in the template, so that no text is looked through for later marks
        head, page = page.split(mark)
        before += head + text
    return before + page


def _read(name: str) -> str:
    return files(__package__).joinpath(name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
