"""A delta on disk for the verbs that read one."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests import fabricated


@pytest.fixture(scope="session")
def delta_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The delta of an untrained compact net of three classes over `tests.tiny:tiny_resnet`."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("delta") / "birds"
    fabricated.saved_delta(folder)
    return folder
