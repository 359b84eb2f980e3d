"""The errors a user can mend. Each says in one or two plain lines what is wrong, where, and what to do.

The command line prints the message and ends with the error's exit status; `--debug` shows the traceback. Anything else
that is raised is a fault of ours and keeps its traceback.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable
from pathlib import Path


def did_you_mean(word: str, known: Iterable[str], otherwise: str = "", show: Callable[[str], str] = repr) -> str:
    """The end of a message about a word that is not known: the nearest known one, or `otherwise`.

    Args:
        known: every word that would have been right.
        otherwise: what to say where none is near, with its own separator (`"; there are a, b"`).
        show: how the nearest is written; in quotes if left out.
    """
    close = difflib.get_close_matches(word, list(known), n=1)
    return f"; did you mean {show(close[0])}?" if close else otherwise


class NettailorError(Exception):
    """A failure that the user can mend: exit status 1."""

    exit_status = 1


class NettailorWarning(UserWarning):
    """Something that works, and that a user should know: one plain line. The command line prints it to stderr."""


class UsageError(NettailorError):
    """An option, key or value that is not one of ours: exit status 2."""

    exit_status = 2


class FileError(NettailorError):
    """A file or folder that is missing, unreadable, unwritable or not what it should be."""

    def __init__(self, path: Path | str, problem: str) -> None:
        super().__init__(f"{path}: {problem}")
        self.path = Path(path)


class VersionError(FileError):
    """A file that another version wrote, with something in it that this one doesn't know: exit status 2.

    Args:
        problem: what is not known; what to do is added.
    """

    exit_status = 2

    def __init__(self, path: Path | str, problem: str) -> None:
        super().__init__(path, f"{problem}; update nettailor")


class TrainingError(NettailorError):
    """A training that left the finite numbers."""


class DataError(NettailorError):
    """Pictures, classes or splits that no network can be trained or measured on."""


class BackboneError(NettailorError):
    """A backbone that can't be found, loaded or cut."""
