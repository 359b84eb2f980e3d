"""Whether two sets share pictures: what is trained on must not be measured, and one picture must not have two tasks.

source, names; source, names -> the bytes of up to `LOOKED_AT` pictures of each, evenly drawn -> the first that is in both
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import repeat
from pathlib import Path

from nettailor.data.images import Source, content_hash

LOOKED_AT = 5000
"""Pictures of each set. A set of more is looked at evenly, which finds copies of whole sets and of most parts of them."""
READERS = 4

Named = tuple[Source, Sequence[str]]
"""Some pictures of a source."""


def same_place(one: Source, other: Source) -> bool:
    """Whether two sources are one folder, zip or data set."""
    return Path(one.where).absolute() == Path(other.where).absolute()


def shared_picture(one: Named, other: Named) -> str | None:
    """The name in `one` of a picture that `other` has too, byte for byte; None where none is found.

    Raises:
        DataError: a picture can't be read.
    """
    known = set(_hashes(*other))
    for name, found in zip(_some(one[1]), _hashes(*one), strict=True):
        if found in known:
            return name
    return None


def _hashes(source: Source, names: Sequence[str]) -> list[bytes]:
    with ThreadPoolExecutor(READERS) as pool:
        return list(pool.map(content_hash, repeat(source), _some(names)))


def _some(names: Sequence[str]) -> list[str]:
    every = max(1, -(-len(names) // LOOKED_AT))
    return list(names[::every])
