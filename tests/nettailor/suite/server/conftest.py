"""A suite of two tasks on disk, and served."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.nettailor.suite.server import brightness


@pytest.fixture
def suite_folder(tmp_path: Path) -> Path:
    return brightness.write(tmp_path / "suite", brightness.TASKS)


@pytest.fixture
def served(suite_folder: Path) -> Iterator[Any]:
    from tests.nettailor.suite.server.served import Served  # needs the extra, for which its tests look first

    made = Served(suite_folder)
    with made.client:
        yield made


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """All tests of this folder need the extra `serve`, and skip themselves without it."""
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.extra)
