"""One file per method, all of one shape; the file's name is the method's. What is shared has a name that begins with "_".

    Settings      what stands under `method` in a recipe
    METHOD        name, summary, what it needs, settings, defaults of the recipe
      .check      refuse a recipe before anything is loaded
      .train      Context -> Trained: the network that its delta holds, and what was measured on the way

`adapt --method`, `compare`, recipes and the `method` field of a delta all find a method here, by its name, and nowhere else.
A new method is a new file.
"""

from __future__ import annotations

import ast
import importlib
from pathlib import Path
from typing import TYPE_CHECKING

from nettailor.config.library import OLD_METHOD_NAMES, method_names
from nettailor.errors import UsageError, did_you_mean

if TYPE_CHECKING:
    from nettailor.methods._protocol import Method


def names() -> list[str]:
    """Every method's name; nothing is imported for it."""
    return method_names()


def summaries() -> dict[str, str]:
    """Every method's one line for lists, by its name; read from the files, so that nothing is imported for it either."""
    return {name: _summary((Path(__file__).parent / f"{name}.py").read_text(encoding="utf-8")) for name in names()}


def _summary(text: str) -> str:
    """What the class in a method's file calls its `summary`."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Assign) and any(getattr(target, "id", "") == "summary" for target in node.targets):
            return str(ast.literal_eval(node.value))
    return ""


def find(name: str, origin: str = "method") -> Method:
    """A method by its name.

    Args:
        origin: where the name comes from, for the message.

    Raises:
        UsageError: there is no such method; the nearest name is given.
    """
    known, name = names(), OLD_METHOD_NAMES.get(name, name)
    if name not in known:
        hint = did_you_mean(name, known, f"; there are {', '.join(known)}")
        raise UsageError(f"{origin}: there is no method {name!r}{hint}")
    found: Method = importlib.import_module(f"{__name__}.{name}").METHOD
    return found
