"""Files are whole or not there."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

import pytest
import torch

from nettailor.errors import FileError
from nettailor.files import (
    TensorInfo,
    read_json,
    read_tensor_infos,
    read_tensors,
    write_json,
    write_tensors,
    write_text,
)


def test_tensors_and_notes_come_back_as_they_were(tmp_path: Path) -> None:
    tensors = {
        "a.b": torch.randn(3, 4),
        "half": torch.randn(2).half(),
        "n": torch.tensor(3),
        "view": torch.randn(4, 4).T,
    }
    write_tensors(tmp_path / "x.safetensors", tensors, {"epoch": 3, "trials": [{"a": None}]})
    found, notes = read_tensors(tmp_path / "x.safetensors")
    assert notes == {"epoch": 3, "trials": [{"a": None}]}
    assert found.keys() == tensors.keys()
    assert all(torch.equal(found[k], t) and found[k].dtype == t.dtype for k, t in tensors.items())


def test_a_full_disk_leaves_the_old_file_and_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "report.json"
    write_json(path, {"old": 1})

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(FileError, match=r"report.json.*No space left"):
        write_json(path, {"new": 2})
    assert read_json(path) == {"old": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["report.json"]


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(FileError, match=r"can't be written.*--out"):
        write_text(tmp_path / "file" / "x.txt", "text")


def test_files_are_as_readable_as_any_other(tmp_path: Path) -> None:
    write_text(tmp_path / "ours", "")
    (tmp_path / "plain").write_text("")
    assert stat.S_IMODE((tmp_path / "ours").stat().st_mode) == stat.S_IMODE((tmp_path / "plain").stat().st_mode)


def test_json_has_no_nan(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "x.json", {"a": float("nan")})
    assert not (tmp_path / "x.json").exists()


@pytest.mark.parametrize("cut", [0, 5, 60, -1])
def test_a_cut_tensor_file_is_named(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "x.safetensors"
    write_tensors(path, {"a": torch.randn(30)})
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(FileError, match="x.safetensors"):
        read_tensors(path)


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="nowhere"):
        read_tensors(tmp_path / "nowhere.safetensors")
    with pytest.raises(FileError, match="nowhere"):
        read_json(tmp_path / "nowhere.json")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('{"a": NaN}', "NaN is no number"),
        ('{"a": -Infinity}', "-Infinity is no number"),
        ('{"a": 1e999}', "larger than any number"),
        ('{"a": 1, "a": 2}', "'a' stands twice"),
        ("[" * 65 + "]" * 65, "nested deeper than 64 levels"),
        ("[" * 100_000, "nested deeper than 64 levels"),
        ('{"a": ' + "9" * 5000 + "}", "no valid JSON"),
        ("\xff", "no valid JSON"),
    ],
)
def test_json_that_other_programs_read_otherwise_is_refused(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "x.json"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(FileError, match=f"x.json: .*{says}"):
        read_json(path)


def test_a_file_that_is_too_large_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    write_json(path, ["x" * 100])
    assert read_json(path, most_bytes=1000) == ["x" * 100]
    with pytest.raises(FileError, match="50 are the most it may have"):
        read_json(path, most_bytes=50)


def test_a_header_says_types_and_shapes_before_anything_is_read(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    write_tensors(path, {"a": torch.zeros(3, 4), "b": torch.tensor(1)})
    assert read_tensor_infos(path) == {"a": TensorInfo("F32", (3, 4)), "b": TensorInfo("I64", ())}
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(FileError, match=r"x\.safetensors: is no whole safetensors file"):
        read_tensor_infos(path)
