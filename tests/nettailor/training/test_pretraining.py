"""Pretraining from random weights: crops, rates, and that a training that was stopped goes on as if it had not been."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from blocks import InputSpec
from nettailor.errors import TrainingError
from nettailor.training import pretraining
from nettailor.training.pretraining import Pass, Pictures, PretrainConfig, middle_crops, pretrain, random_crops
from tests.tiny import tiny_resnet

SPEC = InputSpec(16, (0.5, 0.5, 0.5), (0.25, 0.25, 0.25))


def pictures(count: int = 48) -> Pictures:
    """Three classes that a colour tells apart, under noise."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(count) % 3
    images = torch.randint(0, 80, (count, 3, 20, 20), generator=generator)
    images[torch.arange(count), labels] += 120
    return Pictures(images.to(torch.uint8), labels)


def test_crops_are_windows_of_the_picture_half_of_them_mirrored() -> None:
    images = torch.arange(40 * 40).view(1, 1, 40, 40).expand(64, 3, 40, 40).to(torch.int32)
    crops = random_crops(images, 32, torch.Generator().manual_seed(0))
    assert crops.shape == (64, 3, 32, 32)
    steps = (crops[:, 0, 0, 1] - crops[:, 0, 0, 0]).tolist()
    assert set(steps) == {1, -1}
    assert 16 < steps.count(-1) < 48
    assert ((crops[:, 0, 1:] - crops[:, 0, :-1]) == 40).all()
    assert len(set(crops.amin((1, 2, 3)).tolist())) > 20
    assert torch.equal(middle_crops(images, 32)[0, 0], images[0, 0, 4:36, 4:36])


def test_the_rate_rises_for_three_passes_and_falls_to_nothing() -> None:
    rates = [pretraining.learning_rate(0.3, position, 20) for position in range(21)]
    assert rates[:4] == sorted(rates[:4])
    assert rates[3] == 0.3
    assert rates[3:] == sorted(rates[3:], reverse=True)
    assert rates[-1] == pytest.approx(0)


def test_it_learns_and_one_that_was_stopped_ends_with_the_same_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, config, seen = pictures(), PretrainConfig(epochs=6, batch=16, lr=0.05), list[Pass]()
    whole = pretrain(lambda: tiny_resnet(3), data, data, SPEC, config, tmp_path / "whole", after=seen.append)
    assert [one.number for one in seen] == [1, 2, 3, 4, 5, 6]
    assert seen[-1].loss < seen[0].loss
    assert seen[-1].top1 is not None
    assert seen[-1].top1 > 0.8
    assert seen[-1].top5 == 1.0, "of three classes the first five are all"
    real, calls = pretraining.train_epoch, []

    def once(*words: object) -> float:
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return real(*words)  # type: ignore[arg-type]

    monkeypatch.setattr(pretraining, "train_epoch", once)
    with pytest.raises(KeyboardInterrupt):
        pretrain(lambda: tiny_resnet(3), data, None, SPEC, config, tmp_path / "stopped")
    assert pretraining.passes_done(tmp_path / "stopped") == 2
    again = pretrain(lambda: tiny_resnet(3), data, None, SPEC, config, tmp_path / "stopped")
    assert len(calls) == 3 + 4
    assert all(torch.equal(tensor, again.state_dict()[name]) for name, tensor in whole.state_dict().items())


def test_a_loss_that_leaves_the_finite_numbers_is_named(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"pretraining: the loss is not finite in pass \d; lower"):
        pretrain(
            lambda: tiny_resnet(3), pictures(), None, SPEC, PretrainConfig(epochs=5, batch=16, lr=1e30), tmp_path / "c"
        )
