"""`nettailor predict`: classes of pictures from a delta, as text, CSV or JSON lines."""

from __future__ import annotations

import csv
import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from nettailor.cli.inputs import DEVICES, backbone_of, printable
from nettailor.cli.options import option, position
from nettailor.errors import FileError, UsageError

if TYPE_CHECKING:
    from nettailor.jobs.predict import Prediction

FORMATS = ("text", "csv", "jsonl")
MANY = 20
"""Pictures from which on there is a progress bar."""


@dataclass
class PredictOptions:
    """Classes of pictures, from the delta, each with its probability.

    The exit status is 1 where a picture can't be read; the others are answered all the same.
    """

    run: Path = position("a run's folder, or its delta's, or hf://user/name", "RUN")
    images: list[str] = position("pictures, and folders and zips of them, looked through at all depths", "IMAGE")
    top: int = option("how many classes for each picture", default=1, metavar="K")
    format: str | None = option(
        "text for people, or a record for each picture: image, class, probability, class_2, ..., error; "
        "if left out, by the suffix of --out, else text",
        choices=FORMATS,
    )
    out: Path | None = option("write them into this file, whole or not at all, and not to the screen", metavar="FILE")
    backbone: str | None = option("the backbone, where its name in the delta is not enough", metavar="NAME")
    weights: str | None = option("the backbone's weights in a local file", metavar="FILE")
    proxies: str | None = option("import this form of proxy, where the delta uses one", metavar="MODULE:FUNCTION")
    device: str = option(DEVICES, default="auto", metavar="DEVICE")


def predict(options: PredictOptions) -> int:
    """`nettailor predict`."""
    from nettailor.artifacts.delta import load
    from nettailor.data.gather import gather
    from nettailor.environment import pick_device
    from nettailor.files import write_atomic
    from nettailor.jobs.predict import predictions

    if options.out == Path("-"):
        options.out = None  # as elsewhere, standard output
    form = _format(options)
    pictures = gather(options.images)
    _check_out(options, [picture.shown for picture in pictures])
    delta = load(options.run, backbone_of(options))
    top = min(max(1, options.top), len(delta.classes))
    found = predictions(delta, pictures, top, pick_device(options.device))
    width = max(len(printable(picture.shown)) for picture in pictures)
    with _bar(len(pictures)) as advance:
        told = Told(found, form, top, width, advance)
        if options.out is None:
            told.write(sys.stdout)
        else:
            write_atomic(options.out, told.fill)
    if options.out is not None:
        unread = f" ({told.bad} can't be read)" if told.bad else ""
        print(f"{len(pictures)} pictures{unread} into {options.out}")
    return 1 if told.bad else 0


@dataclass
class Told:
    """Predictions on their way out: each to a stream, and what went wrong to stderr as well.

    Attributes:
        top: classes of each picture.
        width: of the column of names, in text.
        advance: called after each picture.
        bad: pictures so far that can't be read.
    """

    found: Iterator[Prediction]
    form: str
    top: int
    width: int
    advance: Callable[[], None]
    bad: int = 0

    def fill(self, path: Path) -> None:
        """Write all of them into a file."""
        with path.open("w", encoding="utf-8", newline="") as file:
            self.write(file)
            file.flush()
            os.fsync(file.fileno())

    def write(self, stream: TextIO) -> None:
        """Write all of them to a stream."""
        table = None
        for one in self.found:
            if one.error:
                self.bad += 1
                print(f"nettailor: {printable(one.image)}: {printable(one.error)}", file=sys.stderr)
            row = one.row(self.top)
            row["image"] = one.image.encode("utf-8", "backslashreplace").decode()  # bytes of a name that are no text
            if self.form == "jsonl":
                stream.write(json.dumps(row, ensure_ascii=False) + "\n")
            elif self.form == "csv":
                if table is None:
                    table = csv.DictWriter(stream, list(row), lineterminator="\n")
                    table.writeheader()
                table.writerow(row)
            elif not one.error:
                classes = "  ".join(f"{label} {chance:.3f}" for label, chance in one.answer)
                stream.write(f"{printable(one.image):<{self.width}}  {classes}\n")
            self.advance()


def _format(options: PredictOptions) -> str:
    """The format that is asked for, in so many words or by the file's suffix."""
    out = options.out
    by_suffix = None if out is None else out.suffix.lower()[1:]
    if options.format is None and by_suffix is not None and by_suffix not in FORMATS:
        raise UsageError(f"--out {out}: name it .csv or .jsonl, or say which it is with --format {'|'.join(FORMATS)}")
    return options.format or by_suffix or "text"


def _check_out(options: PredictOptions, shown: list[str]) -> None:
    """Refuse a file that can't be written or that would replace a picture, before any work is done for it."""
    out = options.out
    if out is None or not out.exists():
        return
    if out.is_dir():
        raise FileError(out, "is a folder; name a file with --out")
    if os.path.abspath(out) in map(os.path.abspath, (*options.images, *shown)):
        raise FileError(out, "is one of the pictures that are asked about; name another file with --out")


def _bar(count: int) -> AbstractContextManager[Callable[[], None]]:
    """A progress bar on stderr, where that is a terminal and there are many pictures."""
    from rich.console import Console

    from nettailor.progress import Display

    display = Display(Console(stderr=True, highlight=False))
    return display.turns("predict", count) if display.live and count >= MANY else nullcontext(lambda: None)
