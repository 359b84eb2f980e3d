"""Tests that need what `pip install .[test]` does not bring: skipped without, run by `.ci/run` with all extras there."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import pytest

CHROMIUM = Path("/usr/bin/chromium")


def needs(*packages: str) -> list[pytest.MarkDecorator]:
    """Marks of a module (`pytestmark = needs("onnx")`) that needs these packages."""
    missing = [name for name in packages if find_spec(name) is None]
    return [pytest.mark.extra, pytest.mark.skipif(bool(missing), reason=f"not installed: {', '.join(missing)}")]


def needs_browser() -> list[pytest.MarkDecorator]:
    """Marks of a module whose tests open a page in Chromium."""
    return [*needs("playwright"), pytest.mark.skipif(not CHROMIUM.exists(), reason=f"there is no {CHROMIUM}")]
