"""PyTorch's own exported program (`.pt2`): loaded by `torch.export.load`, without this package."""

from __future__ import annotations

import contextlib
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from nettailor.export._protocol import (
    NOTES,
    Exportable,
    Format,
    Session,
    SingleFile,
    failing_plainly,
    notes_from,
    notes_text,
)

EXTRA_FILE = f"{NOTES}.json"
"""The metadata's file inside the archive."""


class TorchFormat(SingleFile):
    """`torch.export`; its runtime is torch."""

    name = "torch"
    summary = "PyTorch's exported program, .pt2"
    suffix = ".pt2"
    runtime = "torch"
    quantises = False

    def need(self) -> None:
        """Nothing beside torch."""

    def convert(self, source: Exportable) -> _Converted:
        return _Converted(source.program(any_size=True))

    def open(self, path: Path, threads: int | None = None) -> Session:
        return _Session(path, threads)


class _Converted:
    def __init__(self, program: torch.export.ExportedProgram) -> None:
        program._example_inputs = None  # two pictures that nobody needs in the file
        self._program = program

    def write(self, path: Path, notes: Mapping[str, Any]) -> None:
        with failing_plainly("torch.export"):
            torch.export.save(self._program, path, extra_files={EXTRA_FILE: notes_text(notes)})
            _compress_graph(path)


def _compress_graph(path: Path) -> None:
    """Deflate what is JSON in the archive: of a small network the graph takes more than the weights."""
    whole = path.with_name(f"whole-{path.name}")
    path.rename(whole)
    with zipfile.ZipFile(whole) as source, zipfile.ZipFile(path, "w") as target:
        for entry in source.infolist():
            method = zipfile.ZIP_DEFLATED if entry.filename.endswith(".json") else zipfile.ZIP_STORED
            target.writestr(zipfile.ZipInfo(entry.filename), source.read(entry), method)
    whole.unlink()


class _Session:
    def __init__(self, path: Path, threads: int | None) -> None:
        found = {EXTRA_FILE: ""}
        with failing_plainly("torch.export"):
            self._module = torch.export.load(path, extra_files=found).module()
        self.notes = notes_from(found[EXTRA_FILE])
        self._threads = threads

    @torch.no_grad()
    def __call__(self, pictures: Tensor) -> Tensor:
        with _threads(self._threads):
            return self._module(pictures)


@contextlib.contextmanager
def _threads(count: int | None) -> Iterator[None]:
    before = torch.get_num_threads()
    if count is not None and count != before:
        torch.set_num_threads(count)
    try:
        yield
    finally:
        if torch.get_num_threads() != before:
            torch.set_num_threads(before)


FORMAT: Format = TorchFormat()
