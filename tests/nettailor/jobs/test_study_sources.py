"""Small source networks: pretrained once, gone on with where stopped, and loaded as a backbone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from nettailor.artifacts.study import SourceFigures
from nettailor.backbones.config import BackboneConfig
from nettailor.backbones.load import load_backbone
from nettailor.files import read_tensors
from nettailor.jobs.job import run_job
from nettailor.jobs.recipe import Recipe
from nettailor.jobs.study_sources import PretrainJob, SourceNet, source_net
from nettailor.progress import Display
from nettailor.training import pretraining
from nettailor.training.pretraining import PretrainConfig
from tests.fabricated import TINY

BACKBONE = BackboneConfig(TINY, input_size=16)
CONFIG = PretrainConfig(epochs=3, batch=8, lr=0.05)


def job(net: SourceNet, out: Path) -> PretrainJob:
    return PretrainJob("source", Recipe(), out, net=net)


def run(one: PretrainJob) -> str:
    return run_job(one, Display(quiet=True), lambda config: load_backbone(TINY)).error


def test_a_source_is_pretrained_on_its_classes_and_is_a_backbone(digit_folder: Path, tmp_path: Path) -> None:
    net = source_net(BACKBONE, str(digit_folder), 3, 10, None, CONFIG)
    one = job(net, tmp_path / "net")
    assert one.stages() == {"pretrain": 3}
    assert run(one) == ""
    record = SourceFigures.read(tmp_path / "net" / "source.json")
    assert len(record.classes) == 3
    assert sorted(record.each) == [3, 3, 4]
    assert (record.epochs, record.backbone, record.data) == (3, TINY, str(digit_folder))
    assert record.val_accuracy is not None
    assert sorted(path.name for path in (tmp_path / "net").iterdir()) == ["source.json", "weights.safetensors"]
    weights = tmp_path / "net" / "weights.safetensors"
    backbone = load_backbone(net.name, weights, 16)
    assert backbone.classes == 3
    assert torch.equal(backbone.stem.state_dict()["conv1.0.weight"], read_tensors(weights)[0]["conv1.0.weight"])
    before = weights.stat().st_mtime_ns
    assert run(one) == "", "a second time nothing is done"
    assert weights.stat().st_mtime_ns == before


@pytest.mark.slow
@pytest.mark.parametrize("stopped_in", ["the third pass", "the last write"])
def test_one_that_was_stopped_ends_with_the_same_weights(
    digit_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stopped_in: str
) -> None:
    net = source_net(BACKBONE, str(digit_folder), 2, None, 6, CONFIG)
    assert run(job(net, tmp_path / "whole")) == ""

    def stop(*words: object) -> None:
        raise KeyboardInterrupt

    real, calls = pretraining.train_epoch, []

    def twice(*words: object) -> float:
        calls.append(1)
        return real(*words) if len(calls) < 3 else stop()  # type: ignore[arg-type, return-value]

    with monkeypatch.context() as patched:
        if stopped_in == "the third pass":
            patched.setattr(pretraining, "train_epoch", twice)
        else:
            patched.setattr(SourceFigures, "write", stop)
        with pytest.raises(KeyboardInterrupt):
            run(job(net, tmp_path / "stopped"))
    assert not (tmp_path / "stopped" / "source.json").exists()
    assert run(job(net, tmp_path / "stopped")) == ""
    one, other = (read_tensors(tmp_path / name / "weights.safetensors")[0] for name in ("whole", "stopped"))
    assert all(torch.equal(tensor, other[name]) for name, tensor in one.items())
    whole, stopped = (SourceFigures.read(tmp_path / name / "source.json") for name in ("whole", "stopped"))
    assert replace(stopped, seconds=whole.seconds) == whole
    assert not (tmp_path / "stopped" / "checkpoint.safetensors").exists()


def test_the_same_network_has_the_same_folder_and_others_their_own(digit_folder: Path) -> None:
    data = str(digit_folder)
    one = source_net(BACKBONE, data, 2, 8, None, CONFIG)
    assert source_net(BACKBONE, data, 2, None, 4, CONFIG).key == one.key
    others = [
        source_net(BACKBONE, data, 3, None, 4, CONFIG),
        source_net(BACKBONE, data, 2, None, 5, CONFIG),
        source_net(BACKBONE, data, 2, None, 4, replace(CONFIG, seed=1)),
        source_net(replace(BACKBONE, input_size=32), data, 2, None, 4, CONFIG),
    ]
    assert len({net.key for net in [one, *others]}) == 5
