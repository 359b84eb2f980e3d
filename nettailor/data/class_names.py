"""Whether two data sets mean the same class: their names, however they are written."""

from __future__ import annotations

import re
from collections.abc import Iterable

BETWEEN_WORDS = re.compile(r"[\s_\-]+")


def plain_name(name: str) -> str:
    """A class's name in lower case, with one space between its words: `Traffic_Light` and `traffic light` are one."""
    return BETWEEN_WORDS.sub(" ", name).strip().casefold()


def tells(name: str) -> bool:
    """Whether a name says anything outside of its own data set: numbers alone do not."""
    return any(letter.isalpha() for letter in name)


def common_names(some: Iterable[str], others: Iterable[str]) -> list[str]:
    """Those of some classes that others have too, by names that tell something, in their order."""
    there = {plain_name(name) for name in others}
    return [name for name in some if tells(name) and plain_name(name) in there]
