"""mixup and CutMix: labels say how pictures are mixed, and both students and plain nets are trained on the mixtures."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from blocks import Backbone
from nettailor.data.task import Task
from nettailor.training.config import TrainingConfig
from nettailor.training.finetuning import finetune
from nettailor.training.mixing import mixed, mixes
from nettailor.training.run import Run
from nettailor.training.stages import tailor, train
from nettailor.training.targets import TeacherTargets
from tests.nettailor.conftest import STUDENT, TEACHER
from tests.nettailor.training.conftest import STILL, fit_small, same_bits

MIXUP, CUTMIX = TrainingConfig(mixup=1.0), TrainingConfig(cutmix=1.0)


def batch() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Pictures that are their number everywhere, so that a mixture gives away what is in it."""
    numbers = torch.arange(8.0)
    return numbers.view(8, 1, 1, 1).expand(8, 3, 16, 16).clone(), torch.arange(8), torch.arange(8)


def parts(x: torch.Tensor, config: TrainingConfig) -> torch.Tensor:
    """The part of each picture that is its neighbour's."""
    ((mixture, labels, rows),) = mixed(iter([(x, torch.arange(8), torch.arange(8))]), config, 8)
    assert mixture.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(rows, torch.arange(8))
    assert torch.allclose(labels.sum(1), torch.ones(8))
    neighbours = torch.arange(8).roll(1)
    theirs = labels[torch.arange(8), neighbours]
    means = (1 - theirs) * torch.arange(8) + theirs * neighbours
    assert torch.allclose(mixture.mean((1, 2, 3)), means, atol=1e-4), "labels are mixed as the pictures are"
    return theirs


def test_pictures_and_labels_are_mixed_alike() -> None:
    x = batch()[0]
    ((mixture, _, _),) = mixed(iter([batch()]), MIXUP, 8)
    assert (mixture - mixture.mean((1, 2, 3), keepdim=True)).abs().max() < 1e-5
    ((mixture, _, _),) = mixed(iter([batch()]), CUTMIX, 8)
    assert set(mixture.flatten().tolist()) <= set(range(8))
    for config in (MIXUP, CUTMIX):
        found = torch.stack([parts(x.clone(), config) for _ in range(20)])
        assert found.std() > 0.1, "each batch in a proportion of its own"


def test_with_both_it_is_one_of_them_for_each_batch() -> None:
    both = TrainingConfig(mixup=1.0, cutmix=1.0)
    kinds = set()
    for mixture, _, _ in mixed((batch() for _ in range(40)), both, 8):
        kinds.add(bool(set(mixture.flatten().tolist()) <= set(range(8))))
    assert kinds == {True, False}


def test_without_either_batches_are_what_they_were() -> None:
    given = batch()
    assert not mixes(TrainingConfig())
    ((x, labels, rows),) = mixed(iter([given]), TrainingConfig(), 8)
    assert (x is given[0], labels is given[1], rows is given[2]) == (True, True, True)


@pytest.mark.parametrize("config", [MIXUP, CUTMIX])
def test_the_loop_trains_on_mixtures_and_seeds_decide_them(task: Task, config: TrainingConfig) -> None:
    seen: list[tuple[torch.Tensor, torch.Tensor]] = []
    net, _ = fit_small(task, Run(augmentation=STILL, training=config), seen=seen)
    assert {tuple(labels.shape) for _, labels in seen} == {(16, 4)}
    torch.rand(3)  # whatever else draws random numbers
    same, _ = fit_small(task, Run(augmentation=STILL, training=config))
    assert same_bits(net, same)
    other, _ = fit_small(task, Run(augmentation=STILL, training=config, seed=1))
    assert not same_bits(net, other)


def test_a_teacher_and_its_student_train_on_mixtures_that_the_teacher_answers_itself(
    backbone: Backbone, task: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Run(augmentation=STILL, training=MIXUP)
    teacher = finetune(backbone, task, TEACHER, run)
    plain = finetune(backbone, task, TEACHER, Run(augmentation=STILL))
    assert not torch.equal(teacher.head.get_submodule("fc").weight, plain.head.get_submodule("fc").weight)
    rows = torch.tensor([0])
    assert TeacherTargets(teacher, task.train, STUDENT, Run(augmentation=STILL)).known(rows) is not None
    assert TeacherTargets(teacher, task.train, STUDENT, run).known(rows) is None, "a mixture is no picture of the split"
    asked: list[torch.Size] = []
    answer = Backbone.activations

    def activations(self: Backbone, x: torch.Tensor) -> list[torch.Tensor]:
        asked.append(x.shape)
        return answer(self, x)

    student = tailor(backbone, task, STUDENT, run)
    monkeypatch.setattr(Backbone, "activations", activations)
    fitted = train(student, teacher, task, STUDENT, run)
    assert len(asked) == 9, "three passes of three batches"
    assert fitted.epochs == 3


def test_mixing_and_smoothing_go_together(backbone: Backbone, task: Task, tmp_path: Path) -> None:
    from dataclasses import replace

    nets = [
        finetune(backbone, task, replace(TEACHER, label_smoothing=part), Run(training=MIXUP)) for part in (0.0, 0.2)
    ]
    assert not same_bits(*nets)
