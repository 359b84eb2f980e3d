"""One owner at a time for a run's folder.

    with lock_folder(RUN): ...      ->  RUN/.lock, locked by the kernel and removed at the end
    a second process on RUN         ->  FolderLockedError, which names the folder, the process and its machine

The lock is the kernel's (`flock`; `msvcrt.locking` on Windows), so it ends with the process that holds it, however that
ends: a `.lock` left by a killed process blocks nobody. Inside the file stands who holds it, for the message alone.

Where it holds: between all processes of one machine, and between machines on a file system that shares its locks (NFS
since Linux 2.6.12, Lustre mounted with `flock`, CephFS). On one that keeps locks to each machine (Lustre with
`localflock`) two machines are not kept apart. Where a file system has no locks at all, `lock_folder` yields False.
"""

from __future__ import annotations

import errno
import json
import os
import platform
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from nettailor.errors import FileError

NAME = ".lock"
NOT_SUPPORTED = (errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EINVAL)
POLL = 0.1  # seconds between two tries

if sys.platform == "win32":
    import msvcrt

    FAR = 1 << 30  # a locked byte can't be read by others, so the one that is locked lies beyond the text

    def _lock(handle: int) -> None:
        os.lseek(handle, FAR, os.SEEK_SET)
        msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)

else:
    import fcntl

    def _lock(handle: int) -> None:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)


class FolderLockedError(FileError):
    """A run's folder that another process works on."""


@contextmanager
def lock_folder(folder: Path) -> Iterator[bool]:
    """Own a folder, which must exist, until the end of the `with`.

    Yields:
        Whether the folder is locked: False where its file system has no locks.

    Raises:
        FolderLockedError: another process owns it; nothing was touched.
        FileError: the folder can't be written.
    """
    handle = _acquire(folder)
    try:
        yield handle is not None
    finally:
        if handle is not None:
            _release(folder / NAME, handle)


def wait_until_free(folder: Path, seconds: float) -> None:
    """Wait for whoever owns a folder, at most some seconds: a process that was killed elsewhere may take a while to end.

    Whether it is free by then is for `lock_folder` to say.
    """
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and (folder / NAME).exists():
        try:
            with lock_folder(folder):
                return
        except FolderLockedError:
            time.sleep(POLL)


def is_lock(path: Path) -> bool:
    """Whether a file is a folder's lock, held or left behind."""
    return path.name == NAME and path.is_file()


def _acquire(folder: Path) -> int | None:
    """The handle of the locked file; None where there are no locks."""
    path = folder / NAME
    while True:
        try:
            handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        except OSError as error:
            raise FileError(path, f"can't be written ({error.strerror}); choose another --out") from error
        try:
            _lock(handle)
        except OSError as error:
            os.close(handle)
            if error.errno in NOT_SUPPORTED:
                with suppress(OSError):
                    path.unlink()
                return None
            raise FolderLockedError(folder, f"is being worked on by {_owner(path)}; wait for it, or stop it") from None
        if _is_same(handle, path):
            break
        os.close(handle)  # its owner removed the file between our opening and our locking it: that lock guards nothing
    os.ftruncate(handle, 0)
    os.lseek(handle, 0, os.SEEK_SET)
    owner = {"pid": os.getpid(), "host": platform.node(), "since": time.strftime("%Y-%m-%d %H:%M:%S")}
    with suppress(OSError):  # a full disk: the lock holds all the same, and only the message says less
        os.write(handle, json.dumps(owner).encode())
    return handle


def _release(path: Path, handle: int) -> None:
    """Remove the file while it is still locked, so that nobody's new lock can be removed with it."""
    if sys.platform == "win32":
        os.close(handle)  # an open file can't be removed there, nor one that another process has opened by now
        with suppress(OSError):
            path.unlink()
        return
    if _is_same(handle, path):
        with suppress(OSError):
            path.unlink()
    os.close(handle)


def _is_same(handle: int, path: Path) -> bool:
    try:
        there = os.stat(path)
    except FileNotFoundError:
        return False
    return os.path.samestat(os.fstat(handle), there)


def _owner(path: Path) -> str:
    """Who holds a lock, in words."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        return f"process {int(found['pid'])} on {found['host']} since {found['since']}"
    except (OSError, ValueError, KeyError, TypeError):
        return "another process"  # it has not written its name yet, or could not
