"""Trainings: what they change, what decides them, and that they learn."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from blocks import Backbone
from nettailor.data.batches import normalise
from nettailor.data.config import DataConfig
from nettailor.data.task import Task
from nettailor.training.config import StudentConfig, TeacherConfig
from nettailor.training.loop import accuracy
from nettailor.training.run import Run
from nettailor.training.stages import finetune, tailor, train
from nettailor.training.targets import TeacherTargets
from tests.nettailor.conftest import STUDENT, TEACHER
from tests.nettailor.training.conftest import everything


def test_a_teacher_answers_once_where_pictures_are_not_varied(backbone: Backbone, task: Task) -> None:
    still = DataConfig(shift=0, scale=0, rotate=0)
    teacher = finetune(backbone, task, TEACHER, Run(augmentation=still))
    tensors = []
    for memory in (2.0, 1e-9):
        run = Run(augmentation=replace(still, memory_gib=memory))
        answers = TeacherTargets(teacher, task.train, run)
        assert (answers.known(torch.tensor([3, 1])) is None) == (memory < 1)
        student = tailor(backbone, task, STUDENT, run)
        train(student, teacher, task, STUDENT, run)
        tensors.append(student.task_tensors())
    assert all(torch.allclose(tensors[0][name], tensors[1][name], atol=1e-3) for name in tensors[0])
    known = TeacherTargets(teacher, task.train, Run(augmentation=still)).known(torch.tensor([3, 1]))
    assert known is not None
    x = normalise(task.train.batch(torch.tensor([3, 1])), backbone.spec, torch.device("cpu"))
    for ours, theirs in zip(known, teacher.activations(x), strict=True):
        assert torch.allclose(ours, theirs, atol=1e-4)
    assert TeacherTargets(teacher, task.train, Run()).known(torch.tensor([0])) is None, (
        "augmented pictures are new ones"
    )


def test_the_backbone_is_the_same_after_a_whole_run(backbone: Backbone, task: Task) -> None:
    before = {name: t.clone() for name, t in backbone.state_dict().items()}
    everything(backbone, task, Run())
    assert all(torch.equal(t, before[name]) for name, t in backbone.state_dict().items())


def test_seeds_decide_and_nothing_else(backbone: Backbone, task: Task) -> None:
    one, same, other = (finetune(backbone, task, TEACHER, Run(seed=seed)) for seed in (0, 0, 1))
    x = torch.randn(4, 3, 16, 16)
    assert torch.equal(one(x), same(x))
    assert not torch.equal(one(x), other(x))


def test_a_teacher_learns(backbone: Backbone, task: Task) -> None:
    run = Run()
    teacher = finetune(backbone, task, TeacherConfig(epochs=15, batch=16, start="fresh", lr=2e-3), run)
    assert accuracy(teacher, task.train) > 0.7
    assert run.fitted["teacher"].seconds > 0


def test_a_warm_start_looks_at_no_picture_alone(
    backbone: Backbone, task: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    """48 training pictures of 16 px, whose last activations are 1x1: a batch of one would have no variance there."""
    monkeypatch.setattr("nettailor.training.stages.WARM_BATCH", 47)
    monkeypatch.setattr("blocks.memory.ACTIVATIONS_AT_ONCE", 2**40)
    student = tailor(backbone, task, StudentConfig(warm_start=48), Run())
    assert all(torch.isfinite(tensor).all() for tensor in student.task_tensors().values())


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU on this machine")
def test_a_whole_run_on_a_gpu(backbone: Backbone, task: Task) -> None:
    run = Run(device=torch.device("cuda"))
    _, paths, value = everything(backbone.to("cuda"), task, run)
    assert paths
    assert 0 <= value <= 1
