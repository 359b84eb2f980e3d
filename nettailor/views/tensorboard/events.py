"""TensorBoard's event files: one that grows while a run trains, and small ones that are written whole.

    Writer (while it runs)       -> RUN/events.out.tfevents.TIME.HOST.PID.N
    write_events (at some point) -> RUN/graphs/1-before-training/events.out.tfevents.graph, RUN/events.out.tfevents.results

TensorBoard reads the files of a folder in the order of their names, so that results come after what was recorded.
"""

from __future__ import annotations

import io
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from PIL.Image import Image
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.graph_pb2 import GraphDef
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.record_writer import RecordWriter
from torch.utils.tensorboard import FileWriter

from nettailor.errors import FileError
from nettailor.files import write_atomic

PREFIX = "events.out.tfevents."


@contextmanager
def event_writer(folder: Path) -> Iterator[FileWriter]:
    """A TensorBoard writer whose troubles with the disk end in a plain error.

    TensorBoard writes in a thread of its own and hands that thread's errors on to us; that Python also prints them as a
    traceback of the thread would only hide the message.

    Raises:
        FileError: the events can't be written.
    """
    usual = threading.excepthook
    threading.excepthook = lambda failed: None if issubclass(failed.exc_type, OSError) else usual(failed)
    try:
        writer = FileWriter(str(folder))
        try:
            yield writer
        finally:
            writer.close()
    except OSError as error:
        reason = error.strerror or str(error)
        raise FileError(folder, f"can't be written ({reason}); free some space or choose another --out") from error
    finally:
        threading.excepthook = usual


@dataclass(frozen=True)
class At:
    """A summary at a global step."""

    summary: Summary
    step: int = 0


def write_events(folder: Path, name: str, events: Iterable[At | GraphDef]) -> Path:
    """Write a whole event file; one of that name that is there is replaced.

    Args:
        name: the end of the file's name.

    Returns:
        The file.

    Raises:
        FileError: the folder can't be written.
    """
    now = time.time()
    made = [Event(wall_time=now, file_version="brain.Event:2")]
    for entry in events:
        if isinstance(entry, At):
            made.append(Event(wall_time=now, step=entry.step, summary=entry.summary))
        else:
            made.append(Event(wall_time=now, graph_def=entry.SerializeToString()))

    def fill(temporary: Path) -> None:
        with temporary.open("wb") as file:
            writer = RecordWriter(file)
            for event in made:
                writer.write(event.SerializeToString())
            writer.flush()

    path = folder / f"{PREFIX}{name}"
    write_atomic(path, fill)
    return path


def picture(tag: str, image: Image) -> Summary:
    """An image as TensorBoard keeps it: a PNG."""
    data = io.BytesIO()
    image.save(data, format="PNG", compress_level=3)
    encoded = Summary.Image(height=image.height, width=image.width, colorspace=3, encoded_image_string=data.getvalue())
    return Summary(value=[Summary.Value(tag=tag, image=encoded)])
