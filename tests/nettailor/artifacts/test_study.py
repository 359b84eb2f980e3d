"""A study's records: written, read back, and held to their schema by line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from nettailor.artifacts.study import CellFigures, Distance, LayerChanges, read_cells, write_cells
from nettailor.errors import FileError
from nettailor.training.layer_change import LayerChange
from tests.fabricated import cell


def test_cells_are_read_back_as_they_were_written_a_line_each(tmp_path: Path) -> None:
    distance = Distance("objects", "signs", "tiny", (1000, 500), 1.5, 0.125, 0.02, 9.0)
    layer = LayerChange(1, "layer1.0", 0.1, 0.99, 0.9, 0.4, None)
    cells = [cell(rate=0.1), cell(rate=0.2, tune_from=None, distance=distance, layers=[layer])]
    write_cells(tmp_path / "cells.jsonl", cells)
    lines = (tmp_path / "cells.jsonl").read_text().splitlines()
    assert [next(iter(json.loads(line))) for line in lines] == ["format", "format"]
    assert json.loads(lines[1])["factors"] == {"rate": 0.2, "tune_from": None}
    assert read_cells(tmp_path / "cells.jsonl") == cells
    assert isinstance(read_cells(tmp_path / "cells.jsonl")[0], CellFigures)


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("{", "line 2 is no valid JSON"),
        ('{"format": 2}', "see line 2"),
        ("[]", "see line 2"),
    ],
)
def test_a_line_that_is_no_cell_is_named(tmp_path: Path, line: str, says: str) -> None:
    path = tmp_path / "cells.jsonl"
    write_cells(path, [cell(rate=0.1)])
    path.write_text(path.read_text() + line + "\n")
    with pytest.raises(FileError, match=rf"cells.jsonl: .*{says}"):
        read_cells(path)
    with pytest.raises(FileError, match="can't be read"):
        read_cells(tmp_path / "none")


def test_numbers_that_are_not_finite_are_not_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_cells(tmp_path / "cells.jsonl", [cell(rate=float("nan"))])
    assert list(tmp_path.iterdir()) == []


def test_changes_of_layers_are_a_record_of_their_own(tmp_path: Path) -> None:
    record = LayerChanges(500, [LayerChange(0, "stem", 0.0, 1.0, 1.0, 0.3, 0.3)])
    record.write(tmp_path / "layers.json")
    assert LayerChanges.read(tmp_path / "layers.json") == record
    (tmp_path / "layers.json").write_text('{"format": 1, "pictures": 3}')
    with pytest.raises(FileError, match="layers: field required; remove it, and the study measures it anew"):
        LayerChanges.read(tmp_path / "layers.json")
