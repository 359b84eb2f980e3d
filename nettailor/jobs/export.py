"""A delta's compact net in another format: converted, proven on pictures of the task, timed, written, recorded.

delta -> folded net -> format -> draft -> the same answers? -> times -> final name -> export.json, model card
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from blocks import fold
from blocks.counting import count_params, tensors_of
from blocks.latency import Turns, time_in_turn
from nettailor import export as formats
from nettailor.artifacts.delta import CARD, Delta, delta_folder
from nettailor.artifacts.export_record import NAME, ExportedFile, ExportLatency, ExportRecord, Int8Figures, Parity
from nettailor.artifacts.hub import is_hub_name
from nettailor.artifacts.lock import lock_folder, wait_until_free
from nettailor.artifacts.model_card import with_exports
from nettailor.artifacts.run_folder import RunFolder
from nettailor.data.task import Split
from nettailor.environment import versions
from nettailor.errors import FileError, UsageError
from nettailor.export._parity import (
    as_read,
    compare,
    compare_uncut,
    hold_to_parity,
    logits_of_file,
    logits_of_net,
    rows_of,
)
from nettailor.export._protocol import Converted, Exportable, ExportError, Format, Session
from nettailor.export._write import check_folder, check_target, write_proven
from nettailor.files import sha256_of, write_text
from nettailor.jobs.evaluate import pictures_of
from nettailor.jobs.recipe import own_recipe

MOST_PICTURES = 1000  # that are compared; of a larger split these, evenly spread
UNCUT_PICTURES = 32
RECHECKED = 8  # pictures, once the figures are in the file
CALIBRATION = 256
ROUNDS, WARM_UP = 21, 5
DROP = 1.0  # points of accuracy that int8 may cost
Say = Callable[[str], None]


@dataclass(frozen=True)
class ExportWish:
    """What the user wants.

    Attributes:
        to: the format's name.
        out: the file; in the run's folder, or for a delta alone in the current one, if left out.
        raw: leave the preprocessing out of the graph.
        int8: quantise.
        drop: points of accuracy that int8 may cost on the validation pictures.
        data, split, skip_bad: pictures, as for `nettailor.jobs.evaluate.evaluate`.
    """

    to: str
    out: Path | None = None
    raw: bool = False
    int8: bool = False
    drop: float = DROP
    data: str | None = None
    split: str | None = None
    skip_bad: bool = False


@dataclass(frozen=True)
class Exported:
    """Where the files are, and what is known of them.

    Attributes:
        path: the file that is opened.
        record: `export.json`.
        card: the model card that has the figures; None where it can't be written.
    """

    path: Path
    record: Path
    card: Path | None
    figures: ExportedFile


def check_finished(run: Path) -> None:
    """Look whether a run's folder holds a finished one; a delta alone is let through.

    Raises:
        FileError: the run is not finished.
    """
    folder = RunFolder(run)
    if folder.recipe.is_file() and not folder.report.is_file():
        raise FileError(run, "is not finished (it has no report.json); the same nettailor adapt goes on with it")


def export(run: Path, delta: Delta, wish: ExportWish, say: Say = lambda _: None) -> Exported:
    """Export a delta's network.

    Args:
        run: the folder that the user named: a run's, or a delta's.
        delta: loaded from it.
        say: is told what comes next.

    Raises:
        UsageError: no such format, its packages are missing, or it has no tools for int8; no pictures are named for a delta.
        ExportError: the file would not answer as the compact net does, or int8 costs too much: nothing was written.
        DataError, FileError: as for `evaluate`; the file can't be written.
    """
    format = formats.find(wish.to)
    format.need()
    if wish.int8 and not format.quantises:
        able = ", ".join(name for name in formats.names() if formats.find(name).quantises)
        raise UsageError(f"--int8: --to {format.name} has no tools for it; there are {able}")
    if not 0 <= wish.drop <= 100:
        raise UsageError(f"--drop {wish.drop}: are points of accuracy, from 0 to 100")
    home = run if own_recipe(run) is not None else None
    path = wish.out or (home / "export" if home else Path()) / f"{delta.description.task}{_ending(wish)}{format.suffix}"
    check_target(format, path)
    record = _check_record(home or path.parent)
    say(f"reading the pictures of {delta.description.task} ...")
    job = _Job(run, delta, wish, format)
    say(f"converting to {format.name} ...")
    figures = job.write(path, say)
    card = None if is_hub_name(run) else delta_folder(run) / CARD  # what the hub's cache holds stays as it came
    return _record(record, path, card, figures)


def _ending(wish: ExportWish) -> str:
    return ("-raw" if wish.raw else "") + ("-int8" if wish.int8 else "")


class _Job:
    """One export: its pictures, the reference's answers to them, and what is measured."""

    def __init__(self, run: Path, delta: Delta, wish: ExportWish, format: Format) -> None:
        self._delta, self._wish, self._format = delta, wish, format
        self._net, self._spec = delta.net.cpu().eval(), delta.net.spec
        given = run, delta, wish.data
        taken, self._test = pictures_of(*given, wish.split or ("test" if wish.int8 else None), wish.skip_bad)
        self._which = taken or "all"
        self._rows = rows_of(self._test, len(self._test) if wish.int8 else MOST_PICTURES)
        self._reference = self._of_net(self._test, self._rows)
        self._val: Split | None = None
        self._calibration: Tensor | None = None
        if wish.int8:
            _, train = pictures_of(*given, "train", wish.skip_bad)
            _, self._val = pictures_of(*given, "val", wish.skip_bad)
            self._calibration = as_read(train.batch(rows_of(train, CALIBRATION)), self._spec, wish.raw)
        self._folded = fold(self._net, join_proxies=False)
        self._figures: dict[str, Any] = {}

    def write(self, path: Path, say: Say) -> ExportedFile:
        """Convert, prove, time and write it."""
        format, wish = self._format, self._wish
        converted = format.convert(Exportable(self._folded, self._spec, wish.raw, self._calibration))

        def prove(session: Session, draft: Path) -> dict[str, Any]:
            say(f"running it in {format.runtime} on {len(self._rows)} {self._which} pictures ...")
            self._prove(session)
            say("timing it beside the backbone's own export ...")
            self._figures["latency"] = self._time(draft)
            told = ("parity", "uncut", "int8")
            return {key: None if self._figures[key] is None else asdict(self._figures[key]) for key in told}

        size = write_proven(format, converted, path, self._notes(), prove, self._recheck)
        return ExportedFile(
            file=str(path),
            task=self._delta.description.task,
            backbone=self._delta.description.backbone.name,
            backbone_sha256=self._delta.description.backbone.sha256,
            delta_sha256=self._delta.description.tensors_sha256,
            to=format.name,
            runtime=f"{format.runtime} {version(format.runtime)}",
            precision="int8" if wish.int8 else "float32",
            preprocessing=not wish.raw,
            any_size=format.any_size and not wish.raw,
            any_batch=format.any_batch,
            bytes=size,
            params=count_params(tensors_of(self._folded).values()),
            macs=self._net.cost().macs,
            backbone_macs=self._net.backbone.cost.macs,
            sha256=sha256_of(path),
            **self._figures,
        )

    def _notes(self) -> dict[str, Any]:
        """The metadata of the file: what someone needs who has nothing else."""
        description, wish, format = self._delta.description, self._wish, self._format
        pictures = {
            "name": "pictures",
            "type": "float32" if wish.raw else "uint8",
            "layout": "batch, channel (RGB), height, width",
            "normalised_by_the_file": not wish.raw,
            "any_size": format.any_size and not wish.raw,
            "any_batch": format.any_batch,
        }
        return {
            "format": 1,
            "task": description.task,
            "classes": description.classes,
            "input": {**pictures, **asdict(self._spec)},
            "backbone": {"name": description.backbone.name, "sha256": description.backbone.sha256},
            "delta_sha256": description.tensors_sha256,
            "method": description.method,
            "precision": "int8" if wish.int8 else "float32",
            "versions": {**versions(), format.runtime: version(format.runtime)},
        }

    def _prove(self, session: Session) -> None:
        found = self._of_file(session, self._test, self._rows)
        parity = compare(self._reference, found, self._which)
        what = f"--to {self._format.name}: the file"
        if self._val is None:
            hold_to_parity(parity, what)
            int8 = None
        else:
            int8 = self._hold_to_drop(session, self._val, found)
        cuts = self._format.any_size and not self._wish.raw
        rows = rows_of(self._test, UNCUT_PICTURES)
        uncut = compare_uncut(session, self._net, self._test, rows, self._spec) if cuts else None
        self._figures |= {"parity": parity, "uncut": uncut, "int8": int8}

    def _hold_to_drop(self, session: Session, val: Split, test_logits: Tensor) -> Int8Figures:
        """Accuracy on validation pictures decides; that on the test pictures is only told."""
        rows = rows_of(val, len(val))
        before = _accuracy(self._of_net(val, rows), val, rows)
        after = _accuracy(self._of_file(session, val, rows), val, rows)
        drop, wish = 100 * (before - after), self._wish
        if drop > wish.drop + 1e-9:
            raise ExportError(
                f"--int8: costs {drop:.2f} points of accuracy on the {len(val)} validation pictures "
                f"({100 * after:.2f} % instead of {100 * before:.2f} %), {wish.drop:g} are allowed; no file was written. "
                "--drop allows more"
            )
        assert self._calibration is not None
        return Int8Figures(
            calibrated_on=len(self._calibration),
            drop_allowed=wish.drop,
            drop=drop,
            val=len(val),
            val_accuracy=after,
            val_accuracy_float32=before,
            test=len(self._test),
            test_accuracy=_accuracy(test_logits, self._test, self._rows),
            test_accuracy_float32=_accuracy(self._reference, self._test, self._rows),
        )

    def _recheck(self, session: Session) -> None:
        """The file with the figures in it is the network that was proven: some pictures, and the figures themselves."""
        rows = torch.arange(min(RECHECKED, len(self._rows)))
        found = self._of_file(session, self._test, self._rows[rows])
        if self._calibration is None:
            hold_to_parity(compare(self._reference[rows], found, self._which), f"--to {self._format.name}: the file")
        parity: Parity = self._figures["parity"]
        if session.notes.get("parity") != asdict(parity) or session.notes.get("classes") != self._delta.classes:
            raise ExportError(f"--to {self._format.name}: the file lost its metadata; no file was written")

    def _time(self, draft: Path) -> ExportLatency:
        """Median milliseconds of one picture, in turns with the backbone's own export, which is in float32."""
        threads = torch.get_num_threads()
        backbone = self._net.backbone.teacher(self._net.classes).eval().for_inference()
        source = Exportable(backbone, self._spec, self._wish.raw)
        whole = draft.with_name(f"backbone{self._format.suffix}")
        converted: Converted = self._format.convert(source)
        converted.write(whole, {})
        turns = time_sessions(
            {"net": self._format.open(draft, threads), "backbone": self._format.open(whole, threads)}, source.example(1)
        )
        ratio = turns.ratio("net", "backbone")
        return ExportLatency(
            ms=turns.timing("net").ms,
            backbone_ms=turns.timing("backbone").ms,
            ratio=ratio.value,
            low=ratio.low,
            high=ratio.high,
            rounds=ROUNDS,
            threads=threads,
        )

    def _of_net(self, split: Split, rows: Tensor) -> Tensor:
        return logits_of_net(self._net, split, rows, self._spec)

    def _of_file(self, session: Session, split: Split, rows: Tensor) -> Tensor:
        return logits_of_file(session, split, rows, self._spec, self._wish.raw, self._format.any_batch)


def time_sessions(sessions: dict[str, Session], pictures: Tensor, rounds: int = ROUNDS) -> Turns:
    """Time opened files on the same pictures, in turns."""
    calls: dict[str, Callable[[], object]] = {
        name: lambda session=session: session(pictures)  # type: ignore[misc]
        for name, session in sessions.items()
    }
    return time_in_turn(calls, rounds=rounds, warm_up=WARM_UP)


def _accuracy(logits: Tensor, split: Split, rows: Tensor) -> float:
    return float((logits.argmax(1) == split.labels[rows]).float().mean())


def _check_record(folder: Path) -> Path:
    """Where `export.json` will lie.

    Raises:
        FileError: there is one that can't be read, or none can be written there.
    """
    target = folder / NAME
    check_folder(target)
    if target.is_file():
        ExportRecord.read(target)
    return target


def _record(target: Path, path: Path, card: Path | None, figures: ExportedFile) -> Exported:
    """Add the file to `export.json` and to the model card."""
    folder = target.parent
    with suppress(ValueError):
        figures.file = str(path.resolve().relative_to(folder.resolve()))
    wait_until_free(folder, 10)
    with lock_folder(folder):
        record = (ExportRecord.read(target) if target.is_file() else ExportRecord()).with_file(figures)
        record.write(target)
        if card is None:
            return Exported(path, target, None, figures)
        text = card.read_text(encoding="utf-8") if card.is_file() else f"# {figures.task}\n"
        try:
            write_text(card, with_exports(text, record.of(figures.delta_sha256)))
        except FileError:  # a delta may lie where nothing can be written; the figures are in `export.json`
            return Exported(path, target, None, figures)
    return Exported(path, target, card, figures)
