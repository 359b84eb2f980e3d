"""Checkpoints: a run that was interrupted ends like one that was not."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from blocks import Backbone
from nettailor.data.task import Task
from nettailor.errors import FileError
from nettailor.training.checkpoint import Checkpoints, optimizer_tensors, restore, restore_optimizer
from nettailor.training.config import TrainingConfig
from nettailor.training.run import Run
from tests.nettailor.training.conftest import Stopped, Stopping, everything


@pytest.mark.parametrize(
    "kills", [[4, 2, 3], *(pytest.param(kills, marks=pytest.mark.slow) for kills in ([1], [1] * 12))]
)
def test_a_run_that_is_stopped_again_and_again_ends_like_one_that_is_not(
    backbone: Backbone, task: Task, tmp_path: Path, kills: list[int]
) -> None:
    expected, paths, value = everything(backbone, task, Run())
    for epochs in kills:
        run = Run(checkpoints=Checkpoints(tmp_path), recorder=Stopping(epochs, Stopped))
        with pytest.raises(Stopped):
            everything(backbone, task, run)
    found, kept, again = everything(backbone, task, Run(checkpoints=Checkpoints(tmp_path)))
    assert kept == paths
    assert again == value
    assert all(torch.equal(found[name], tensor) for name, tensor in expected.items())


@pytest.mark.slow
def test_a_run_with_averages_early_stopping_and_mixtures_goes_on_to_the_same_end(
    backbone: Backbone, task: Task, tmp_path: Path
) -> None:
    config = TrainingConfig(ema=0.6, stop_after=1, accumulate=2, mixup=0.2, cutmix=0.5, class_weights="balanced")
    whole = Run(training=config)
    expected, paths, value = everything(backbone, task, whole)
    with pytest.raises(Stopped):
        everything(
            backbone,
            task,
            Run(training=config, checkpoints=Checkpoints(tmp_path), recorder=Stopping(5, Stopped)),
        )
    found, kept, again = everything(backbone, task, Run(training=config, checkpoints=Checkpoints(tmp_path)))
    assert (kept, again) == (paths, value)
    assert all(torch.equal(found[name], tensor) for name, tensor in expected.items())
    assert set(found["gates.fade"].unique().tolist()) <= {0.0, 1.0}, "what is removed is removed, average or not"


def test_an_optimiser_goes_on_to_the_bit_from_its_named_tensors() -> None:
    def steps(optimizer: torch.optim.Optimizer, weight: torch.nn.Parameter, count: int) -> None:
        for _ in range(count):
            optimizer.zero_grad()
            (weight**3).sum().backward()
            optimizer.step()

    one = torch.nn.Parameter(torch.randn(3, 2))
    optimizer = torch.optim.AdamW([one], lr=0.1)
    steps(optimizer, one, 3)
    kept = {name: tensor.clone() for name, tensor in optimizer_tensors(optimizer).items()}
    other = torch.nn.Parameter(one.detach().clone())
    fresh = torch.nn.Parameter(one.detach().clone())
    again = torch.optim.AdamW([other], lr=0.1)
    restore_optimizer(again, kept)
    steps(optimizer, one, 2)
    steps(again, other, 2)
    steps(torch.optim.AdamW([fresh], lr=0.1), fresh, 2)
    assert torch.equal(one, other)
    assert not torch.equal(one, fresh), "moments and the number of steps matter"


def test_a_finished_stage_is_handed_over_without_its_optimiser_and_never_over_what_is_there(tmp_path: Path) -> None:
    here, there = Checkpoints(tmp_path / "here"), Checkpoints(tmp_path / "there")
    here.save("teacher", {"net.w": torch.ones(2), "optimizer.0.step": torch.ones(1)}, {"epoch": 3, "seconds": 1.0})
    here.hand_over("teacher", tmp_path / "kept", 9.0)
    here.hand_over("student", tmp_path / "kept", 9.0)  # never trained: nothing to hand over
    assert there.take_over(tmp_path / "kept") == {"teacher": 9.0}
    kept = there.load("teacher")
    assert kept is not None
    assert set(kept[0]) == {"net.w"}
    assert kept[1] == {"epoch": 3, "seconds": 9.0}
    there.save("teacher", {"net.w": torch.zeros(2)}, {"epoch": 4, "seconds": 2.0})
    assert there.take_over(tmp_path / "kept") == {}
    assert there.load("teacher")[1]["epoch"] == 4  # type: ignore[index]
    there.drop("teacher")
    assert not there.has("teacher")
    assert there.load("teacher") is None
    here.remove()
    assert not (tmp_path / "here").exists()


def test_without_a_folder_nothing_is_kept_and_nothing_is_found(tmp_path: Path) -> None:
    nowhere = Checkpoints(None)
    nowhere.save("teacher", {"net.w": torch.ones(2)}, {})
    nowhere.hand_over("teacher", tmp_path / "kept", 1.0)
    assert not nowhere.has("teacher")
    assert nowhere.load("teacher") is None
    assert nowhere.take_over(tmp_path) == {}
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("saved", [{"a": torch.ones(3)}, {}, {"a": torch.ones(2), "b": torch.ones(1)}])
def test_tensors_of_another_network_are_refused_and_change_nothing(saved: dict[str, torch.Tensor]) -> None:
    own = {"a": torch.zeros(2)}
    with pytest.raises(FileError, match="checkpoint of x: tensor '[ab]' does not fit this network"):
        restore(own, saved, "checkpoint of x")
    assert torch.equal(own["a"], torch.zeros(2))
    restore(own, {"a": torch.ones(2)}, "checkpoint of x")
    assert torch.equal(own["a"], torch.ones(2))
