"""TensorBoard's events: written to the folder; a disk that fails is one plain error."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from torch.utils.tensorboard.summary import scalar

from nettailor.errors import FileError
from nettailor.views.tensorboard.events import event_writer


def test_events_lie_in_the_folder_when_the_writer_is_closed(tmp_path: Path) -> None:
    with event_writer(tmp_path / "events") as writer:
        writer.add_summary(scalar("student/val_accuracy", 0.5), 1)
    (file,) = (tmp_path / "events").iterdir()
    assert b"student/val_accuracy" in file.read_bytes()


def test_a_full_disk_ends_in_an_error_that_names_the_folder_and_threads_are_reported_as_before(tmp_path: Path) -> None:
    usual, seen = threading.excepthook, []

    def fail(error: Exception) -> None:
        seen.append(threading.excepthook is not usual)
        raise error

    full = OSError(28, "No space left on device")
    says = r"events: can't be written \(No space left on device\); free some space"
    with pytest.raises(FileError, match=says), event_writer(tmp_path / "events"):
        fail(full)
    with pytest.raises(ValueError, match="no trouble"), event_writer(tmp_path / "events"):
        fail(ValueError("no trouble of the disk's"))
    assert seen == [True, True]
    assert threading.excepthook is usual


def test_only_the_threads_own_disk_errors_are_kept_quiet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reported: list[type[BaseException]] = []
    monkeypatch.setattr(threading, "excepthook", lambda failed: reported.append(failed.exc_type))
    with event_writer(tmp_path / "events"):
        for kind in (OSError, KeyError):
            threading.excepthook(threading.ExceptHookArgs((kind, kind(), None, None)))
    assert reported == [KeyError]
