"""TensorBoard's event files in a run's folder."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from torch.utils.tensorboard import SummaryWriter

from nettailor.errors import FileError


@contextmanager
def event_writer(folder: Path) -> Iterator[SummaryWriter]:
    """A TensorBoard writer whose troubles with the disk end in a plain error.

    TensorBoard writes in a thread of its own and hands that thread's errors on to us; that Python also prints them as a
    traceback of the thread would only hide the message.

    Raises:
        FileError: the events can't be written.
    """
    usual = threading.excepthook
    threading.excepthook = lambda failed: None if issubclass(failed.exc_type, OSError) else usual(failed)
    try:
        with SummaryWriter(str(folder)) as writer:
            yield writer
    except OSError as error:
        reason = error.strerror or str(error)
        raise FileError(folder, f"can't be written ({reason}); free some space or choose another --out") from error
    finally:
        threading.excepthook = usual
