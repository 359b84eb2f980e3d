"""A compact net in another format, and the proof that it answers the same. One file per format; its name is the format's.

    folded net, InputSpec -> Exportable -> FORMAT.convert -> Converted -> write -> a file, or several
    a file                -> FORMAT.open -> Session: pictures in, logits out, in the format's own runtime

`nettailor export --to` finds a format here, by its name, and nowhere else. A new format is a new file; what formats share
has a name that begins with "_".
"""

from __future__ import annotations

import importlib
import pkgutil
from typing import TYPE_CHECKING

from nettailor.errors import UsageError, did_you_mean

if TYPE_CHECKING:
    from nettailor.export._protocol import Format


def names() -> list[str]:
    """Every format's name; nothing is imported for it."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__) if not module.name.startswith("_"))


def find(name: str) -> Format:
    """A format by its name. What it needs beside nettailor is only imported when it converts or opens something.

    Raises:
        UsageError: there is no such format; the nearest name is given.
    """
    known = names()
    if name not in known:
        hint = did_you_mean(name, known, f"; there are {', '.join(known)}")
        raise UsageError(f"--to: there is no format {name!r}{hint}")
    found: Format = importlib.import_module(f"{__name__}.{name}").FORMAT
    return found
