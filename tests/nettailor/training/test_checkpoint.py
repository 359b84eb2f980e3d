"""Checkpoints: a run that was interrupted ends like one that was not."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from blocks import Backbone
from nettailor.data.task import Task
from nettailor.training.checkpoint import Checkpoints
from nettailor.training.loop import Run
from tests.nettailor.training.conftest import everything


class Stopped(Exception):
    pass


def stop_after(epochs: int) -> object:
    """A scalar sink that ends the run like a kill would: in the middle, without any clean-up."""
    seen: set[tuple[str, int]] = set()

    def scalars(tag: str, value: float, step: int) -> None:
        seen.add((tag.split("/")[0], step))
        if len(seen) > epochs:
            raise Stopped

    return scalars


@pytest.mark.parametrize("kills", [[1], [4, 2, 3], [1] * 12])
def test_a_run_that_is_stopped_again_and_again_ends_like_one_that_is_not(
    backbone: Backbone, task: Task, tmp_path: Path, kills: list[int]
) -> None:
    expected, paths, value = everything(backbone, task, Run())
    for epochs in kills:
        run = Run(checkpoints=Checkpoints(tmp_path), scalars=stop_after(epochs))  # type: ignore[arg-type]
        with pytest.raises(Stopped):
            everything(backbone, task, run)
    found, kept, again = everything(backbone, task, Run(checkpoints=Checkpoints(tmp_path)))
    assert kept == paths
    assert again == value
    assert all(torch.equal(found[name], tensor) for name, tensor in expected.items())
