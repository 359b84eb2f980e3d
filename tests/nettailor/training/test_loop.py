"""The training loop: its schedule, its precision, and what it does with a gradient that is not finite."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from blocks import Backbone
from nettailor.data.batches import evaluation_batches
from nettailor.data.task import Task, load_task
from nettailor.errors import TrainingError
from nettailor.training.checkpoint import Checkpoints
from nettailor.training.finetuning import finetune
from nettailor.training.loop import Schedule, accuracy, parameter_groups, predictions
from nettailor.training.run import Run
from nettailor.training.stages import tailor, train
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


def test_weights_decay_and_vectors_do_not() -> None:
    net = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4), torch.nn.Linear(4, 2))
    groups = parameter_groups(list(net.parameters()), 0.1, 0.02)
    assert [(group["lr"], group["weight_decay"]) for group in groups] == [(0.1, 0.02), (0.1, 0.0)]
    decayed, others = (group["params"] for group in groups)
    assert [id(p) for p in decayed] == [id(net[0].weight), id(net[2].weight)]
    assert len(others) == 4
    assert parameter_groups([net[1].weight], 0.1, 0.02)[0]["weight_decay"] == 0.0, "an empty group is left out"


@pytest.mark.parametrize("training", [True, False])
def test_accuracy_is_of_eval_mode_and_the_mode_is_put_back(backbone: Backbone, task: Task, training: bool) -> None:
    teacher = backbone.teacher(4).train(training)
    before = {name: tensor.clone() for name, tensor in teacher.state_dict().items()}
    found = accuracy(teacher, task.val)
    assert teacher.training == training
    assert all(torch.equal(tensor, before[name]) for name, tensor in teacher.state_dict().items())
    with torch.no_grad():
        batches = evaluation_batches(task.val, teacher.spec, torch.device("cpu"))
        right = [teacher.eval()(x).argmax(1) == labels for x, labels in batches]
    assert found == torch.cat(right).float().mean().item()
    said = predictions(teacher.train(training), task.val)
    assert (said.shape, said.dtype, teacher.training) == ((24,), torch.int64, training)
    assert torch.equal(said == task.val.labels, torch.cat(right)), "in the split's order"


def test_a_run_autocasts_just_where_its_precision_says_so() -> None:
    x = torch.ones(2, 2)
    for precision, kind in (("float32", torch.float32), ("bfloat16", torch.bfloat16)):
        with Run(precision=precision).autocast():
            assert (x @ x).dtype == kind
