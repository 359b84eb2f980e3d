"""The linear probe, and a teacher that begins with it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from blocks import Backbone
from nettailor.backbones.load import load_backbone
from nettailor.data.batches import evaluation_batches
from nettailor.data.config import DataConfig
from nettailor.data.task import Task, load_task
from nettailor.training import finetuning
from nettailor.training.checkpoint import Checkpoints
from nettailor.training.config import TeacherConfig, TrainingConfig
from nettailor.training.finetuning import finetune
from nettailor.training.loop import accuracy
from nettailor.training.probe import Probe, features, fit_probe
from nettailor.training.rates import RATES, loss_on
from nettailor.training.run import Run
from tests.nettailor.conftest import TEACHER


def with_probe(backbone: Backbone, task: Task, probe: Probe) -> Backbone:
    net = backbone.teacher(len(task.classes)).eval()
    probe.write(net.head, net.classifier_paths[0])
    return net


def test_features_are_what_the_classifier_reads(backbone: Backbone, task: Task) -> None:
    found = features(backbone, task.val, Run())
    assert found is not None
    assert found.shape == (len(task.val), backbone.features)
    old = backbone.head.get_submodule(backbone.classifier_paths[0])
    logits = torch.cat([backbone(x) for x, _ in evaluation_batches(task.val, backbone.spec, torch.device("cpu"))])
    torch.testing.assert_close(found @ old.weight.T + old.bias, logits, rtol=1e-4, atol=1e-4)
    assert not old._forward_pre_hooks, "nothing is left behind"


def test_the_probe_separates_what_its_features_separate(backbone: Backbone, task: Task) -> None:
    probe = fit_probe(backbone, task, Run())
    assert probe is not None
    net = with_probe(backbone, task, probe)
    assert accuracy(net, task.train) > 0.7
    assert loss_on(net, task.val, backbone.spec) == pytest.approx(probe.val_loss, rel=0.01)


def test_features_are_computed_once_of_pictures_as_they_are(backbone: Backbone, task: Task) -> None:
    """Whatever is augmented in training."""
    seen: list[torch.Tensor] = []
    backbone.stem.register_forward_pre_hook(lambda _, given: seen.append(given[0].clone()))
    assert fit_probe(backbone, task, Run(augmentation=DataConfig(rotate=30.0, shift=0.3))) is not None
    plain = [
        x for split in (task.train, task.val) for x, _ in evaluation_batches(split, backbone.spec, torch.device("cpu"))
    ]
    assert torch.equal(torch.cat(seen), torch.cat(plain))


def test_class_weights_act_on_the_probe(backbone: Backbone, task: Task) -> None:
    """Of one class only a few pictures are left: balanced, it is named more often."""
    rows = [row for row, label in enumerate(task.train.labels.tolist()) if label or row % 5 == 0]
    assert task.train.images is not None
    names, labels, images = [task.train.names[row] for row in rows], task.train.labels[rows], task.train.images[rows]
    rare = replace(task, train=replace(task.train, names=names, labels=labels, images=images))
    shares = []
    for kind in ("none", "balanced"):
        probe = fit_probe(backbone, rare, Run(training=TrainingConfig(class_weights=kind)))  # type: ignore[arg-type]
        assert probe is not None
        found = features(backbone, task.val, Run())
        assert found is not None
        shares.append(float((found @ probe.weight.T + probe.bias).softmax(1)[:, 0].mean()))
    assert shares[1] > 1.1 * shares[0]


def test_two_classes_get_two_rows(backbone: Backbone, task: Task) -> None:
    task.classes = task.classes[:2]
    for split in (task.train, task.val):
        rows = split.labels < 2
        split.names = [name for name, taken in zip(split.names, rows.tolist(), strict=True) if taken]
        assert split.images is not None
        split.images, split.labels = split.images[rows], split.labels[rows]
    probe = fit_probe(backbone, task, Run())
    assert probe is not None
    assert probe.weight.shape == (2, backbone.features)
    assert accuracy(with_probe(backbone, task, probe), task.train) > 0.8


def test_a_classifier_that_reads_positions_has_no_probe(digit_folder: Path) -> None:
    """SqueezeNet's is a convolution over all positions, pooled afterwards."""
    backbone = load_backbone("torchvision/squeezenet1_1", input_size=64, untrained=True)
    task = load_task(str(digit_folder), 64)
    assert fit_probe(backbone, task, Run()) is None


def test_a_teacher_is_never_worse_than_its_probe_and_a_stop_changes_nothing(
    backbone: Backbone, task: Task, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = TeacherConfig(epochs=2, batch=16, lr=1.0)  # far too high
    run = Run(checkpoints=Checkpoints(tmp_path / "one"))
    probe = fit_probe(backbone, task, Run())
    assert probe is not None
    least = accuracy(with_probe(backbone, task, probe), task.val)
    teacher = finetune(backbone, task, config, run)
    assert accuracy(teacher, task.val) == least == run.fitted["teacher"].metrics["val_accuracy"]
    assert accuracy(finetune(backbone, task, config, run), task.val) == least, "its checkpoint is the probe"

    monkeypatch.setattr(finetuning, "_take_probe_if_better", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    stopped = Run(checkpoints=Checkpoints(tmp_path / "two"))
    with pytest.raises(KeyboardInterrupt):
        finetune(backbone, task, config, stopped)
    monkeypatch.undo()
    assert accuracy(finetune(backbone, task, config, stopped), task.val) == least


def test_the_rate_is_searched_once_and_kept(
    backbone: Backbone, task: Task, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    losses = {RATES[0]: 3.0, RATES[1]: 1.0, RATES[2]: 2.0}
    seen: list[float] = []

    def fake(net: nn.Module, *_: object) -> Tensor:
        seen.append(list(losses)[len(seen)])
        return torch.full((4,), losses[seen[-1]])

    monkeypatch.setattr(finetuning, "losses_on", fake)
    run = Run(checkpoints=Checkpoints(tmp_path))
    config = TeacherConfig(epochs=1, batch=16)
    finetune(backbone, task, config, run)
    assert (run.rate, len(seen)) == (RATES[1], len(RATES))
    again = Run(checkpoints=Checkpoints(tmp_path))
    finetune(backbone, task, config, again)
    assert (again.rate, len(seen)) == (RATES[1], len(RATES)), "found in the checkpoints"
    configured = Run()
    finetune(backbone, task, TEACHER, configured)
    assert configured.rate == TEACHER.lr
