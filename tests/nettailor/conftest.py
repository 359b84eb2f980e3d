"""A task of real digits at 16 px, and settings with which it is trained in a few steps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from nettailor.data.task import Task, load_task
from nettailor.training.config import StudentConfig, TeacherConfig

TEACHER = TeacherConfig(epochs=3, batch=16, start="fresh", lr=2e-3)
STUDENT = StudentConfig(epochs=3, batch=16)


@pytest.fixture
def task(digit_folder: Path) -> Task:
    return load_task(str(digit_folder), 16)


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A hub in a folder, to which this user is logged in (`tests.fake_hub.FakeHub`)."""
    library = pytest.importorskip("huggingface_hub")
    from tests.fake_hub import FakeHub

    made = FakeHub(tmp_path / "hub")
    monkeypatch.setattr(library, "HfApi", lambda: made.api)
    monkeypatch.setattr(library, "snapshot_download", made.snapshot_download)
    monkeypatch.setattr(library, "get_token", lambda: "hf_token")
    return made
