"""What a study leaves on disk: a line of figures for each cell, and what its jobs measured beside the reports.

    cells/CELL/layers.json       how each layer changed                      LayerChanges
    distances/PAIR/distance.json how far source and target are apart         Distance
    sources/NET/source.json      a small source network and what it saw      SourceFigures
    cells.jsonl                  one CellFigures a line, for any script

Accuracies are fractions, what is called points is 100 times their difference.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, field
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic.dataclasses import dataclass

from nettailor.errors import FileError
from nettailor.files import write_text
from nettailor.schema import RECORD, Record, checked
from nettailor.training.layer_change import LayerChange

FORMAT: Literal[1] = 1
Value = str | int | float | bool | None


@dataclass(config=RECORD)
class LayerChanges(Record):
    """How each layer of a cell's network differs from the backbone's, on some pictures of the validation split."""

    remedy: ClassVar[str] = "remove it, and the study measures it anew"

    pictures: int
    layers: list[LayerChange]
    format: Literal[1] = FORMAT


@dataclass(config=RECORD)
class Distance(Record):
    """How far a source and a target are apart for one backbone (`nettailor.training.set_distance.SetDistance`).

    Attributes:
        source, target: the pictures, as the study names them.
        pictures: of the source, and of the target.
        error: of the domain classifier, held out.
        bandwidth: of the kernel of MMD².
    """

    remedy: ClassVar[str] = "remove it, and the study measures it anew"

    source: str
    target: str
    backbone: str
    pictures: tuple[int, int]
    proxy_a: float
    error: float
    mmd2: float
    bandwidth: float
    format: Literal[1] = FORMAT


@dataclass(config=RECORD)
class SourceFigures(Record):
    """A small source network: what it was pretrained on, and how well. Its weights lie beside it.

    Attributes:
        each: training pictures of each class, in the order of the classes.
        val_accuracy: on validation pictures of its classes; None where the source has none.
    """

    remedy: ClassVar[str] = "remove its folder, and the study pretrains it anew"

    backbone: str
    data: str
    classes: list[str]
    each: list[int]
    epochs: int
    seed: int
    val_accuracy: float | None
    seconds: float
    format: Literal[1] = FORMAT


@dataclass(config=RECORD)
class CellFigures:
    """One cell.

    Attributes:
        factors: value of each factor of the study; null where the cell's method does not have it.
        baseline: whether it is there to compare others with.
        folder: of its run, within the study's.
        train: training pictures.
        epochs, seconds: over all stages of the run.
        over_probe, over_scratch: points of test accuracy above the linear probe, and above training from scratch, of the same
            pictures, backbone and seed; null where the study has none.
        source: pictures and classes that a small source network has seen, and its accuracy.
    """

    study: str
    factors: dict[str, Value]
    baseline: bool
    method: str
    task: str
    seed: int
    folder: str
    train: int
    test_accuracy: float
    val_accuracy: float
    balanced_accuracy: float | None
    macs: int
    task_params: int
    epochs: float
    seconds: float
    over_probe: float | None = None
    over_scratch: float | None = None
    distance: Distance | None = None
    source: SourceFigures | None = None
    layers: list[LayerChange] = field(default_factory=list)
    format: Literal[1] = FORMAT

    def as_tree(self) -> dict[str, Any]:
        """Plain values, `format` first."""
        tree = asdict(self)
        return {"format": tree.pop("format"), **tree}


def write_cells(path: Path, cells: Sequence[CellFigures]) -> None:
    """Write one line for each cell, all of them or none.

    Raises:
        FileError: the file can't be written.
    """
    write_text(path, "".join(json.dumps(cell.as_tree(), allow_nan=False) + "\n" for cell in cells))


def read_cells(path: Path) -> list[CellFigures]:
    """Read what `write_cells` wrote.

    Raises:
        FileError: no such file, or a line that is no cell; the line is named.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise FileError(path, f"can't be read ({error})") from error
    found = []
    for number, line in enumerate(lines, 1):
        try:
            tree = json.loads(line)
        except ValueError as error:
            raise FileError(path, f"line {number} is no valid JSON ({error}); run the study again") from error
        found.append(checked(CellFigures, tree, path, f"see line {number}; run the study again"))
    return found
