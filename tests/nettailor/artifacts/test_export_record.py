"""The record of exports: one entry for a file, in the order of their names."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from nettailor.artifacts.export_record import ExportedFile, ExportLatency, ExportRecord, Int8Figures, Parity
from nettailor.errors import FileError
from nettailor.files import read_json, write_json


def exported(file: str = "birds.onnx", **changes: Any) -> ExportedFile:
    made = ExportedFile(
        *(file, "birds", "tiny", "a" * 64, "b" * 64, "onnx", "onnxruntime 1.20", "float32", True, True, True),
        *(40_000, 9_000, 1_200_000, 2_000_000, "c" * 64),
        Parity("test", 20, 1.5e-5, 0.95, 0),
        ExportLatency(1.5, 3.0, 0.5, 0.45, 0.56, 40, 1),
    )
    return replace(made, **changes)


def test_a_file_takes_the_place_of_its_older_self(tmp_path: Path) -> None:
    first = (
        ExportRecord().with_file(exported("b.onnx")).with_file(exported("a.pt2")).with_file(exported("b.onnx", bytes=1))
    )
    assert [(file.file, file.bytes) for file in first.files] == [("a.pt2", 40_000), ("b.onnx", 1)]
    first.write(tmp_path / "export.json")
    assert ExportRecord.read(tmp_path / "export.json") == first


def test_files_of_another_delta_are_none_of_this_ones() -> None:
    record = ExportRecord().with_file(exported("a")).with_file(exported("b", delta_sha256="d" * 64))
    assert [file.file for file in record.of("b" * 64)] == ["a"]


def test_what_could_not_be_measured_is_kept_as_unknown(tmp_path: Path) -> None:
    int8 = Int8Figures(512, 1.0, 0.25, 24, 0.9, 0.91, 20, 0.88, 0.89)
    odd = exported(parity=Parity("all", 3, None, 0.0), uncut=Parity("uncut", 3, 0.1, 1.0), int8=int8)
    ExportRecord().with_file(odd).write(tmp_path / "export.json")
    assert ExportRecord.read(tmp_path / "export.json").files == [odd]


def test_what_is_no_record_is_named(tmp_path: Path) -> None:
    ExportRecord().with_file(exported()).write(tmp_path / "export.json")
    tree = read_json(tmp_path / "export.json")
    write_json(tmp_path / "export.json", {**tree, "files": [{**tree["files"][0], "precision": "int4"}]})
    with pytest.raises(FileError, match=r"files\.0\.precision: .*is it a record of exports of another version"):
        ExportRecord.read(tmp_path / "export.json")
