"""A delta by its name on the Hugging Face hub: what such a name is, and how its files come here.

    hf://user/name@revision -> HubName -> the hub says what is there, and how large -> three files -> a folder in its cache

What comes from there is no more believed than any other delta: `delta.load` checks it. Only the three files of a delta are
fetched, and none that is larger than one of them can be. The library is an extra (`hub`), and imported where it is used.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from nettailor.artifacts.description import CARD, DESCRIPTION, MOST_BYTES, TENSORS
from nettailor.errors import NettailorError, NettailorWarning, UsageError

SCHEME = "hf://"
COLLAPSED = "hf:/"
"""What `pathlib` makes of the scheme: options are paths."""
MOST = {DESCRIPTION: MOST_BYTES, TENSORS: 4 * 2**30, CARD: 2**20}
"""The files of a delta, and the most bytes of each that are fetched; a method that copies a backbone has large tensors."""
LOGIN = "log in with `hf auth login`, or set HF_TOKEN"
PART = r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,94}[A-Za-z0-9_])?"
NAME = re.compile(rf"({PART}/{PART})(?:@([\w./-]+))?")


class HubError(NettailorError):
    """The hub can't be reached, has no such thing, or does not let this user have it."""


class HubWarning(NettailorWarning):
    """The hub was not asked: a copy from before is used."""


@dataclass(frozen=True)
class HubName:
    """A repository of the hub, `user/name`, and a branch, tag or commit of it; None for its main branch."""

    repo: str
    revision: str | None = None

    @classmethod
    def parse(cls, text: Path | str) -> HubName:
        """Read `hf://user/name`, with or without `@revision`, or the same without `hf://`.

        Raises:
            UsageError: it is none.
        """
        word = str(text.as_posix() if isinstance(text, Path) else text)
        bare = word.removeprefix(SCHEME).removeprefix(COLLAPSED)
        found = NAME.fullmatch(bare)
        if found is None or "--" in found[1] or ".." in bare:
            raise UsageError(
                f"{SCHEME}{bare}: is no name on the hub; write {SCHEME}user/name, or {SCHEME}user/name@revision"
            )
        return cls(found[1], found[2])

    def __str__(self) -> str:
        return f"{SCHEME}{self.repo}" + (f"@{self.revision}" if self.revision else "")


def is_hub_name(folder: Path | str) -> bool:
    """Whether what stands for a folder is a name on the hub, as it was typed or as a path."""
    return (folder.as_posix() if isinstance(folder, Path) else folder).startswith(COLLAPSED)


def shown(folder: Path) -> str:
    """A folder as the user typed it."""
    return str(HubName.parse(folder)) if is_hub_name(folder) else str(folder)


def hub_library() -> ModuleType:
    """`huggingface_hub`.

    Raises:
        UsageError: it is not installed.
    """
    try:
        import huggingface_hub
    except ImportError:
        raise UsageError("the hub needs huggingface_hub; install it with: pip install 'nettailor[hub]'") from None
    return huggingface_hub


def fetch(name: HubName) -> Path:
    """The folder with the delta's files, fetched unless they are in the hub's cache already.

    Where the hub can't be reached, the copy of an earlier call is taken.

    Raises:
        HubError: no such repository or revision, no permission, no network and no copy, no delta in it, or a file too large.
        UsageError: the extra is missing.

    Warns:
        HubWarning: a copy from before was taken.
    """
    hub = hub_library()
    try:
        info = hub.HfApi().model_info(name.repo, revision=name.revision, files_metadata=True)
    except Exception as error:  # the client raises its own, its HTTP library's and plain OS errors
        if not _is_unreachable(error):
            raise plain_error(error, name) from error
        return _earlier_copy(hub, name, error)
    _check_sizes({file.rfilename: file.size for file in info.siblings or []}, name)
    with plain_errors(name):
        folder = Path(hub.snapshot_download(name.repo, revision=name.revision, allow_patterns=list(MOST)))
    _check_sizes({path.name: path.stat().st_size for path in folder.iterdir() if path.is_file()}, name)
    return folder


def _earlier_copy(hub: ModuleType, name: HubName, unreachable: Exception) -> Path:
    try:
        found = hub.snapshot_download(
            name.repo, revision=name.revision, allow_patterns=list(MOST), local_files_only=True
        )
    except OSError:  # among them the library's own error about a copy that is not there
        raise plain_error(unreachable, name) from unreachable
    warnings.warn(f"{name}: the hub can't be reached; a copy from before is used", HubWarning, stacklevel=3)
    return Path(found)


def _check_sizes(sizes: dict[str, int | None], name: HubName) -> None:
    """Refuse what is no delta, and what is larger than one can be, from what the hub says of it."""
    for file in (DESCRIPTION, TENSORS):
        if file not in sizes:
            raise HubError(f"{name}: holds no delta of nettailor ({file} is missing)")
    for file, most in MOST.items():
        size = sizes.get(file, 0)
        if size is None or size > most:
            raise HubError(
                f"{name}: {file}: has {size or 'an unknown number of'} bytes, {most} are the most it may have"
            )


@contextmanager
def plain_errors(name: HubName) -> Iterator[None]:
    """Inside, whatever the hub's library raises becomes a `HubError`."""
    try:
        yield
    except NettailorError:
        raise
    except Exception as error:  # the client raises its own, its HTTP library's and plain OS errors
        raise plain_error(error, name) from error


def plain_error(error: Exception, name: HubName) -> HubError:
    """What the hub's library raised, in a plain line."""
    from huggingface_hub import errors

    if isinstance(error, errors.GatedRepoError):
        return HubError(f"{name}: access has to be granted by its owner; ask for it at {page(name)}, then {LOGIN}")
    if isinstance(error, errors.RepositoryNotFoundError):
        return HubError(f"{name}: there is no such model, or it is private and not yours; look at the name, or {LOGIN}")
    if isinstance(error, errors.RevisionNotFoundError):
        return HubError(f"{name}: has no such revision; look at {page(name)}")
    status = _status(error)
    if status == 401 or isinstance(error, errors.LocalTokenNotFoundError):
        return HubError(f"{name}: you are not logged in to the hub; {LOGIN}")
    if status == 403:
        return HubError(f"{name}: your login may not do this there ({_first_line(error)}); {LOGIN} as another")
    if isinstance(error, OSError) and error.filename is not None:
        return HubError(
            f"{name}: {error.filename}: {error.strerror}; free some space, or set HF_HOME to another folder"
        )
    if isinstance(error, ValueError) or (status is not None and status < 500):
        return HubError(f"{name}: the hub refuses it ({_first_line(error)})")
    if isinstance(error, errors.OfflineModeIsEnabled):
        return HubError(f"{name}: is not on this machine, and HF_HUB_OFFLINE forbids to fetch it")
    return HubError(f"{name}: the hub can't be reached ({_first_line(error)}); is there a network? try again later")


def page(name: HubName) -> str:
    """Where people look at a repository."""
    return f"{hub_library().constants.ENDPOINT}/{name.repo}"


def _is_unreachable(error: Exception) -> bool:
    """Whether nobody answered, or the hub itself failed: then what it said before may still do."""
    status = _status(error)
    return not isinstance(error, ValueError) and (status is None or status >= 500)


def _status(error: Exception) -> int | None:
    code = getattr(getattr(error, "response", None), "status_code", None)
    return code if isinstance(code, int) else None


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
