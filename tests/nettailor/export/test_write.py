"""A file has its final name when it has been proven, and never before."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from nettailor.errors import FileError, UsageError
from nettailor.export._protocol import ExportError, Session, SingleFile
from nettailor.export._write import check_target, write_proven


class Pair(SingleFile):
    """A format of two files that are text."""

    name, summary, suffix, runtime = "pair", "two files", ".pair", "none"

    def need(self) -> None: ...

    def files(self, path: Path) -> list[Path]:
        return [path.with_suffix(".bin"), path]

    def open(self, path: Path, threads: int | None = None) -> Any:
        return path.read_text() + path.with_suffix(".bin").read_text()

    def convert(self, source: object) -> Any:
        return self

    def write(self, path: Path, notes: Mapping[str, Any]) -> None:
        path.write_text(str(dict(notes)))
        path.with_suffix(".bin").write_text("weights")


def prove(session: Session, draft: Path) -> dict[str, Any]:
    assert "parity" not in str(session)
    return {"parity": 1}


def test_the_file_is_written_with_the_figures_and_nothing_is_left_beside_it(tmp_path: Path) -> None:
    path, seen = tmp_path / "net.pair", []
    size = write_proven(Pair(), Pair(), path, {"task": "birds"}, prove, lambda session: seen.append(str(session)))
    assert path.read_text() == "{'task': 'birds', 'parity': 1}"
    assert seen == [path.read_text() + "weights"]
    assert size == len(path.read_text()) + len("weights")
    assert sorted(os.listdir(tmp_path)) == ["net.bin", "net.pair"]
    umask = os.umask(0)
    os.umask(umask)
    assert path.stat().st_mode & 0o777 == 0o666 & ~umask


def refuse(*_: object) -> Any:
    raise ExportError("it answers otherwise")


@pytest.mark.parametrize("step", ["prove", "recheck"])
def test_a_file_that_answers_otherwise_leaves_the_old_one(tmp_path: Path, step: str) -> None:
    path = tmp_path / "net.pair"
    path.write_text("old")
    steps = (refuse, lambda _: None) if step == "prove" else (prove, refuse)
    with pytest.raises(ExportError, match="answers otherwise"):
        write_proven(Pair(), Pair(), path, {}, *steps)
    assert os.listdir(tmp_path) == ["net.pair"]
    assert path.read_text() == "old"


def test_targets_that_can_t_be_are_refused_beforehand(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"net\.zip: a file of --to pair ends in \.pair"):
        check_target(Pair(), tmp_path / "net.zip")
    (tmp_path / "folder.pair").mkdir()
    with pytest.raises(FileError, match=r"folder\.pair: is a folder"):
        check_target(Pair(), tmp_path / "folder.pair")
    (tmp_path / "file").touch()
    with pytest.raises(FileError, match=r"can't be written \(.*\); choose another --out"):
        check_target(Pair(), tmp_path / "file" / "net.pair")
    check_target(Pair(), tmp_path / "new" / "net.pair")
    assert (tmp_path / "new").is_dir()
