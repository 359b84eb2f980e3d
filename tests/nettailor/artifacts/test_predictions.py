"""Predictions, picture by picture, in the order of split.json."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from nettailor.artifacts.predictions import Predictions, SplitPredictions
from nettailor.data.config import DataConfig
from nettailor.data.task import load_task
from tests import fabricated


def test_pictures_stand_in_the_order_of_split_json(digit_folder: Path) -> None:
    task = load_task(DataConfig(source=str(digit_folder)), 16)
    split = task.test
    mixed = torch.randperm(len(split), generator=torch.Generator().manual_seed(1))
    split.names, split.labels = [split.names[row] for row in mixed.tolist()], split.labels[mixed]
    ours, theirs = split.labels.clone(), (split.labels + 1) % 4
    ours[3] = (ours[3] + 1) % 4
    found = SplitPredictions.of(split, ours, theirs)
    assert found.names == [name for names in task.record()["test"].values() for name in names]
    assert found.labels == sorted(split.labels.tolist())
    assert [name for name, right in zip(found.names, found.right(), strict=True) if not right] == [split.names[3]]
    assert not any(found.right("teacher"))
    assert SplitPredictions.of(split, ours, None).teacher is None


def test_they_survive_their_file_and_say_who_is_right(tmp_path: Path) -> None:
    predictions = fabricated.predictions()
    predictions.write(tmp_path / "predictions.json")
    assert Predictions.read(tmp_path / "predictions.json") == predictions
    assert predictions.test.right() == [True, True, False, True, False]
    assert predictions.test.right("teacher") == [True, True, True, True, False]
    with pytest.raises(ValueError, match="no teacher"):
        SplitPredictions(["a"], [0], [0]).right("teacher")
