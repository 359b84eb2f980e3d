"""Code of the user's own, by import path: `package.module:name`."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any


class ImportPathError(Exception):
    """What is wrong with an import path, as the end of a sentence that begins with it."""


def import_path(name: str) -> Callable[..., Any]:
    """The callable at `package.module:name`; the current directory is looked in too, as `python -m` does.

    Raises:
        ImportPathError: no such module or name, an error in it, or no callable.
    """
    module, _, attribute = name.partition(":")
    if (here := str(Path.cwd())) not in sys.path:
        sys.path.append(here)  # the user's own package is usually where they stand
    try:
        found = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError, ValueError, SyntaxError) as error:
        raise ImportPathError(f"can't be imported ({error})") from error
    if not callable(found):
        raise ImportPathError(f"is a {type(found).__name__}, no callable")
    return found  # type: ignore[no-any-return]
