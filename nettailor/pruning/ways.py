"""The ways to prune, by the name that `prune.how` gives them. Each stands once, beside the function that goes it:

    @way("paper")  def _paper(job) -> Pruned        WAYS["paper"] -> _paper

The settings read the names from here, and so does `prune`; this module knows neither. The table is filled when the package
`nettailor.pruning` is imported, which imports the module that goes them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

Way = TypeVar("Way", bound=Callable[..., Any])

WAYS: dict[str, Callable[..., Any]] = {}
"""From what every way of pruning needs to what it chose (`nettailor.pruning.prune`)."""


def way(*names: str) -> Callable[[Way], Way]:
    """Enter a function into the table, under each of the names.

    Raises:
        ValueError: a name is taken.
    """

    def enter(function: Way) -> Way:
        for name in names:
            if WAYS.setdefault(name, function) is not function:
                raise ValueError(f"there are two ways to prune called {name!r}")
        return function

    return enter
