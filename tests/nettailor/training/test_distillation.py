"""Training on labels and a teacher's answers."""

from __future__ import annotations

import pytest
import torch

from blocks import Backbone
from blocks.counting import tensors_of
from nettailor.data.task import Task
from nettailor.training.config import StudentConfig
from nettailor.training.distillation import fit_distilled
from nettailor.training.loop import Schedule, parameter_groups, predictions
from nettailor.training.run import Fitted, Run
from nettailor.training.stages import fit_to_labels


def trained(backbone: Backbone, task: Task, teacher: Backbone, epochs: int = 2, **config: float) -> Backbone:
    torch.manual_seed(2)
    net = backbone.teacher(4)
    job = net, tensors_of(net), parameter_groups(list(net.parameters()), 2e-3, 0.0), Schedule(epochs, 16), task, Run()
    fitted = fit_distilled("net", *job, teacher, StudentConfig(**config))  # type: ignore[arg-type]
    assert isinstance(fitted, Fitted)
    return net


def test_without_weight_on_the_teachers_answers_it_is_training_on_labels(backbone: Backbone, task: Task) -> None:
    teacher = backbone.teacher(4).eval()
    net = trained(backbone, task, teacher, distill_weight=0.0)
    torch.manual_seed(2)
    plain = backbone.teacher(4)
    groups = parameter_groups(list(plain.parameters()), 2e-3, 0.0)
    fit_to_labels("net", plain, tensors_of(plain), groups, Schedule(2, 16), task, Run())
    for name, tensor in tensors_of(plain).items():
        torch.testing.assert_close(tensors_of(net)[name], tensor, rtol=1e-4, atol=1e-6, msg=name)


def test_with_much_weight_on_them_it_answers_as_the_teacher_does(backbone: Backbone, task: Task) -> None:
    torch.manual_seed(9)
    teacher = backbone.teacher(4).eval().requires_grad_(False)
    with torch.no_grad():
        teacher.head.get_submodule(teacher.classifier_paths[0]).bias.copy_(torch.tensor([0.0, 0.0, 9.0, 0.0]))
    before = {name: tensor.clone() for name, tensor in tensors_of(teacher).items()}
    net = trained(backbone, task, teacher, epochs=6, distill_weight=1000.0)
    assert predictions(net, task.val).tolist() == predictions(teacher, task.val).tolist() == [2] * len(task.val)
    assert all(torch.equal(tensor, before[name]) for name, tensor in tensors_of(teacher).items())


@pytest.mark.parametrize("weight", [0.0, 0.5])
def test_both_terms_are_told(backbone: Backbone, task: Task, weight: float, monkeypatch: pytest.MonkeyPatch) -> None:
    terms: list[set[str]] = []
    monkeypatch.setattr(
        "nettailor.training.recorder.NoRecorder.passed",
        lambda self, stage, epoch, losses, *_: terms.append(set(losses)),
    )
    trained(backbone, task, backbone.teacher(4).eval(), epochs=1, distill_weight=weight)
    assert terms == [{"ce", "distill"}]
