"""What a student is trained on: the terms of the loss, one by one."""

from __future__ import annotations

from blocks import Backbone
from nettailor.data.task import Task
from nettailor.training.config import StudentConfig
from nettailor.training.loop import Run
from nettailor.training.stages import finetune, tailor, train
from tests.nettailor.conftest import TEACHER


def test_g1_lowers_expected_complexity(backbone: Backbone, task: Task) -> None:
    teacher = finetune(backbone, task, TEACHER, Run())
    values = []
    for weight in (0.0, 20.0):
        choice = StudentConfig(epochs=6, batch=4, complexity_weight=weight, gate_lr=0.05)
        student = tailor(backbone, task, choice, Run())
        values.append(train(student, teacher, task, choice, Run()).metrics["expected_complexity"])
    assert values[1] < values[0] - 0.1
