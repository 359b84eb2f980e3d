"""A task of real digits at 16 px, and settings with which it is trained in a few steps."""

from __future__ import annotations

from pathlib import Path

import pytest

from nettailor.data.task import Task, load_task
from nettailor.training.config import StudentConfig, TeacherConfig

TEACHER = TeacherConfig(epochs=3, batch=16, start="fresh", lr=2e-3)
STUDENT = StudentConfig(epochs=3, batch=16)


@pytest.fixture
def task(digit_folder: Path) -> Task:
    return load_task(str(digit_folder), 16)
