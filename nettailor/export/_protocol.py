"""What every format answers, what it is given, and what it hands back.

Exportable -> Format.convert -> Converted.write(file, notes) -> Format.open(file) -> Session(pictures) -> logits, .notes
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from blocks import InputSpec
from nettailor.errors import NettailorError, UsageError
from nettailor.export._preprocessing import Preprocessed

NOTES = "nettailor"  # the key of the metadata, one JSON text, in every format
PICTURES, LOGITS = "pictures", "logits"  # names of input and output, where a format has names
MOST_BATCH = 4096


class ExportError(NettailorError):
    """A network that a format or its runtime can't take, or that answers otherwise there."""


@dataclass(frozen=True)
class Exportable:
    """What is written: a folded network, and how pictures come to it.

    Attributes:
        net: normalised pictures (B, 3, S, S) to logits (B, classes), in eval mode, on the CPU.
        spec: the pictures that it reads.
        raw: leave the preprocessing out: the file then reads what `net` reads.
        calibration: pictures (N, 3, S, S) as the file reads them, uint8, or float if raw: the network is then quantised to
            int8, with ranges measured on these.
    """

    net: nn.Module
    spec: InputSpec
    raw: bool = False
    calibration: Tensor | None = None

    def module(self, any_size: bool) -> nn.Module:
        """What the file computes; its weights are contiguous, as XNNPACK wants them.

        Args:
            any_size: pictures of any size are cut in the graph; else it reads squares of the input's size.
        """
        plain = self.net.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
        return plain if self.raw else Preprocessed(plain, self.spec, any_size).eval()

    def example(self, batch: int) -> Tensor:
        """Pictures of the input's size, as the file reads them."""
        kind = torch.float32 if self.raw else torch.uint8
        return torch.zeros(batch, 3, self.spec.size, self.spec.size, dtype=kind)

    def program(self, any_size: bool) -> torch.export.ExportedProgram:
        """The traced graph, for batches of any size.

        Raises:
            ExportError: the network can't be traced.
        """
        shapes = {0: torch.export.Dim("batch", min=1, max=MOST_BATCH)}
        if any_size and not self.raw:
            shapes |= {2: torch.export.Dim("height", min=2), 3: torch.export.Dim("width", min=2)}
        module = self.module(any_size)
        with failing_plainly("torch.export"):
            program = torch.export.export(module, (self.example(2),), dynamic_shapes=(shapes,))
        for node in program.graph.nodes:  # lines of code, and where they lie on this machine: half of a small file
            for key in ("stack_trace", "nn_module_stack", "source_fn_stack", "from_node", "torch_fn"):
                node.meta.pop(key, None)
        return program


class Converted(Protocol):
    """A network in another format, ready to be written, as often as one likes."""

    def write(self, path: Path, notes: Mapping[str, Any]) -> None:
        """Write it, and those that belong to it, with `notes` as metadata."""
        ...


class Session(Protocol):
    """A file opened in its runtime.

    Attributes:
        notes: the metadata that it was written with.
    """

    notes: dict[str, Any]

    def __call__(self, pictures: Tensor) -> Tensor:
        """Logits (B, classes), float32, of pictures as the file reads them."""
        ...


class Format(Protocol):
    """One format, and the runtime that answers for it.

    Attributes:
        name: as people type it.
        summary: one line for lists.
        suffix: of its file.
        runtime: the package that runs it here.
        any_size: whether pictures of any size can be cut in its graph.
        any_batch: whether it takes batches of any size; else one picture at a time.
        quantises: whether it has tools for int8.
    """

    name: str
    summary: str
    suffix: str
    runtime: str
    any_size: bool
    any_batch: bool
    quantises: bool

    def need(self) -> None:
        """Look whether its packages are there.

        Raises:
            UsageError: they are not; the message names the extra.
        """
        ...

    def convert(self, source: Exportable) -> Converted:
        """Convert a network.

        Raises:
            ExportError: the format can't hold it.
        """
        ...

    def open(self, path: Path, threads: int | None = None) -> Session:
        """Open a file of ours, or its metadata with it.

        Args:
            threads: of the CPU; the runtime's own choice if left out. Formats without such a setting run as torch does.
        """
        ...

    def files(self, path: Path) -> list[Path]:
        """All files of a network, the one that is opened last."""
        ...


class SingleFile:
    """What formats answer that have one file and nothing special to say."""

    any_size = True
    any_batch = True
    quantises = True

    def files(self, path: Path) -> list[Path]:
        """The file alone."""
        return [path]


def need_packages(name: str, *packages: str) -> None:
    """Raise an error that names the extra where one of these packages is missing."""
    for package in packages:
        if find_spec(package) is None:
            raise UsageError(f"--to {name}: {package} is not installed; pip install 'nettailor[{name}]'")


class failing_plainly:
    """Whatever a converter or runtime raises inside is an `ExportError` of one line; `--debug` shows where it came from."""

    def __init__(self, what: str) -> None:
        self._what = what

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, Exception) and not isinstance(error, NettailorError | OSError):
            first = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
            raise ExportError(f"{self._what} can't take this network ({first[:200]})") from error


def notes_text(notes: Mapping[str, Any]) -> str:
    """The metadata as it stands in a file."""
    return json.dumps(notes, allow_nan=False)


def notes_from(text: str | None) -> dict[str, Any]:
    """The metadata of a file; empty where it has none of ours."""
    found = json.loads(text) if text else {}
    return found if isinstance(found, dict) else {}


def ancestors_of_first(nodes: list[tuple[str, str, list[str]]], kind: str) -> list[str]:
    """Names of all nodes that the first node of a kind depends on.

    Args:
        nodes: name, kind, and names of the nodes that it reads, in topological order.
    """
    reads = {name: sources for name, _, sources in nodes}
    first = next((name for name, found, _ in nodes if found == kind), None)
    seen: set[str] = set()
    waiting = list(reads.get(first, [])) if first is not None else []
    while waiting:
        if (name := waiting.pop()) not in seen and name in reads:
            seen.add(name)
            waiting += reads[name]
    return [name for name, _, _ in nodes if name in seen]
