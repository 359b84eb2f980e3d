"""The two pages of a server: one to ask with, one that says how to. Each is one file that fetches nothing else.

assets/page.html, .css, .js -> one HTML text, and a content security policy that allows those very texts and no other
"""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass
from functools import cache
from html import escape
from importlib.resources import files
from typing import Any


@dataclass(frozen=True)
class Page:
    """A self-contained page and the policy that it is sent with."""

    html: str
    policy: str


@cache
def main_page() -> Page:
    """Drop a picture, tick tasks, see answers."""
    return _page("nettailor", _asset("page.html"), _asset("page.js"))


def docs_page(schema: dict[str, Any]) -> Page:
    """What can be asked, from the OpenAPI description, without scripts."""
    routes = [
        _route(path, method, about) for path, methods in schema["paths"].items() for method, about in methods.items()
    ]
    intro = (
        f"<header><h1>{escape(schema['info']['title'])} {escape(schema['info']['version'])}</h1>"
        f"<p>{escape(schema['info']['description'])} For programs: <a href='openapi.json'>openapi.json</a>; "
        "to try it: <a href='.'>the page</a>.</p></header>"
    )
    return _page("nettailor: how to ask", f"{intro}<main>{''.join(routes)}</main>")


def _route(path: str, method: str, about: dict[str, Any]) -> str:
    parts = [
        f"<h2><code>{escape(method.upper())} {escape(path)}</code></h2><p>{escape(about.get('description', ''))}</p>"
    ]
    if parameters := [entry for entry in about.get("parameters", []) if entry["in"] == "query"]:
        rows = [(f"<code>{escape(entry['name'])}</code>", escape(entry.get("description", ""))) for entry in parameters]
        parts.append(_table("Parameters", rows))
    if "requestBody" in about:
        kinds = ", ".join(f"<code>{escape(kind)}</code>" for kind in about["requestBody"]["content"])
        parts.append(f"<p>Body: {kinds}</p>")
    rows = [(escape(status), escape(answer["description"])) for status, answer in about["responses"].items()]
    parts.append(_table("Answers", rows))
    return f"<section>{''.join(parts)}</section>"


def _table(title: str, rows: list[tuple[str, str]]) -> str:
    lines = "".join(f"<tr><th scope='row'>{name}</th><td>{about}</td></tr>" for name, about in rows)
    return f"<table><caption>{title}</caption>{lines}</table>"


def _page(title: str, body: str, script: str = "") -> Page:
    style = _asset("page.css")
    html = (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<title>{escape(title)}</title><link rel="icon" href="data:,"><style>{style}</style></head>'
        f"<body>{body}{f'<script>{script}</script>' if script else ''}</body></html>"
    )
    policy = "; ".join(
        (
            "default-src 'none'",
            f"style-src {_hash(style)}",
            f"script-src {_hash(script) if script else chr(39) + 'none' + chr(39)}",
            "img-src blob: data:",
            "connect-src 'self'",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
        )
    )
    return Page(html, policy)


def _asset(name: str) -> str:
    return (files("nettailor.suite.server") / "assets" / name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
