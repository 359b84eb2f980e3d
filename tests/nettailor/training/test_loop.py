"""The training loop: its schedule, its precision, and what it does with a gradient that is not finite."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from blocks import Backbone
from nettailor.data.task import Task, load_task
from nettailor.errors import TrainingError
from nettailor.training.checkpoint import Checkpoints
from nettailor.training.loop import Run, Schedule
from nettailor.training.stages import finetune, tailor, train
from tests import tiny
from tests.nettailor.conftest import STUDENT, TEACHER


def test_the_schedule_warms_up_and_goes_down_to_zero() -> None:
    factors = [Schedule(10, 4).factor(step, 100) for step in range(100)]
    assert factors.index(max(factors)) in (9, 10)
    assert factors[:10] == sorted(factors[:10])
    assert factors[10:] == sorted(factors[10:], reverse=True)
    assert factors[-1] < 0.01


def test_bfloat16_autocast_trains_too(digit_folder: Path) -> None:
    backbone, task = tiny.tiny_backbone(32), load_task(str(digit_folder), 32)
    run = Run(precision="bfloat16")
    teacher = finetune(backbone, task, TEACHER, run)
    student = tailor(backbone, task, STUDENT, run)
    before = student.gates.logits.detach().clone()
    train(student, teacher, task, STUDENT, run)
    assert all(torch.isfinite(t).all() for t in student.task_tensors().values())
    assert not torch.equal(before, student.gates.logits)


def test_a_training_that_diverges_says_so_and_keeps_its_last_checkpoint(
    backbone: Backbone, task: Task, tmp_path: Path
) -> None:
    run = Run(checkpoints=Checkpoints(tmp_path))
    finetune(backbone, task, TEACHER, run)
    student, teacher = tailor(backbone, task, STUDENT, run), backbone.teacher(4)
    with torch.no_grad():
        student.gates.logits[0, 0] = torch.nan
    with pytest.raises(TrainingError, match="student: the gradient is not finite in epoch 1; lower its learning rate"):
        train(student, teacher, task, STUDENT, run)
    assert [path.name for path in tmp_path.iterdir()] == ["teacher.safetensors"]
