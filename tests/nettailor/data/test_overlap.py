"""Pictures that two sets share."""

from __future__ import annotations

import shutil
from pathlib import Path

from nettailor.data import overlap
from nettailor.data.images import FolderSource, MemorySource
from nettailor.data.overlap import same_place, shared_picture


def test_a_copy_under_another_name_is_found_and_other_pictures_are_not(digit_folder: Path, tmp_path: Path) -> None:
    ours = FolderSource(digit_folder)
    some, others = ours.names[:5], ours.names[5:]
    shutil.copy(digit_folder / ours.names[7], tmp_path / "copy.png")
    theirs = FolderSource(tmp_path)
    assert shared_picture((theirs, theirs.names), (ours, ours.names)) == "copy.png"
    assert shared_picture((theirs, theirs.names), (ours, some)) is None
    assert shared_picture((ours, some), (ours, others)) is None


def test_a_copy_of_a_large_set_is_found_without_reading_all_of_it(digit_folder: Path, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    source = FolderSource(digit_folder)
    monkeypatch.setattr(overlap, "LOOKED_AT", 7)
    read: list[str] = []
    real = overlap.content_hash
    monkeypatch.setattr(overlap, "content_hash", lambda where, name: read.append(name) or real(where, name))
    assert shared_picture((source, source.names), (source, source.names)) == source.names[0]
    assert len(read) <= 14


def test_one_folder_is_one_place_however_it_is_written(digit_folder: Path, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.chdir(digit_folder)
    assert same_place(FolderSource(Path("train")), FolderSource(digit_folder / "train"))
    assert not same_place(FolderSource(Path("train")), MemorySource("digits", [], lambda _: None))  # type: ignore[arg-type,return-value]
