"""What a student is trained on: the terms of the loss, one by one."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch.nn.functional import cross_entropy

from blocks import Backbone, Plan, TailoredNet
from nettailor.data.task import Task
from nettailor.training.config import Matching, StudentConfig, TrainingConfig
from nettailor.training.finetuning import finetune
from nettailor.training.losses import backward, label_loss, layer_errors, softened_divergence, weights_of_classes
from nettailor.training.run import Run
from nettailor.training.stages import tailor, train
from tests.nettailor.conftest import STUDENT, TEACHER


def test_g1_lowers_expected_complexity(backbone: Backbone, task: Task) -> None:
    teacher = finetune(backbone, task, TEACHER, Run())
    values = []
    for weight in (0.0, 20.0):
        choice = StudentConfig(epochs=6, batch=4, complexity_weight=weight, gate_lr=0.05)
        student = tailor(backbone, task, choice, Run())
        values.append(train(student, teacher, task, choice, Run()).metrics["expected_complexity"])
    assert values[1] < values[0] - 0.1


def test_the_divergence_of_softened_answers_is_its_formula_written_out() -> None:
    ours, theirs = torch.randn(2, 5, 3).double()
    for temperature in (1.0, 4.0):
        p, q = (theirs / temperature).softmax(1), (ours / temperature).softmax(1)
        expected = (p * (p / q).log()).sum(1).mean() * temperature**2
        assert float(softened_divergence(ours, theirs, temperature)) == pytest.approx(float(expected), rel=1e-4)
    assert float(softened_divergence(theirs + 3, theirs, 2.0)) == pytest.approx(0, abs=1e-6)


def test_dead_layers_have_no_matching_error_and_the_logits_always_have_one(backbone: Backbone) -> None:
    student = TailoredNet(backbone, 4, Plan(skips=2)).eval()
    dead = {"G3", "A1-3", "A2-3"}
    paths = [path for path in student.paths if path.key not in dead and "A3-" not in path.key and path.key != "G4"]
    student.keep(paths)
    x = torch.randn(2, 3, 16, 16)
    with torch.no_grad():
        activity, targets = student.run(x), backbone.teacher(4).eval().activations(x)
        errors = layer_errors(activity, targets)
    assert set(errors) == {1, 2, 4, 5, 6, 7}
    assert float(errors[1]) == pytest.approx(float((activity.activations[1] - targets[1]).square().mean()), rel=1e-5)  # type: ignore[operator]
    assert float(errors[7]) == pytest.approx(float((activity.logits - targets[-1]).square().mean()), rel=1e-5)


@pytest.mark.parametrize("matching", ["end_to_end", "local"])
def test_the_total_is_the_weighted_sum_and_a_term_of_weight_0_is_not_computed(
    backbone: Backbone, matching: Matching
) -> None:
    student, teacher = TailoredNet(backbone, 4, Plan(skips=1)), backbone.teacher(4)
    x, labels = torch.randn(4, 3, 16, 16), torch.arange(4)
    weights = StudentConfig(complexity_weight=0.5, matching_weight=2.0, distill_weight=3.0, matching=matching)
    terms = backward(student, teacher, x, labels, weights)
    total = terms["ce"] + 0.5 * terms["complexity"] + 2 * terms["matching"] + 3 * terms["distill"]
    assert float(terms["total"]) == pytest.approx(float(total), rel=1e-5)
    alone = StudentConfig(complexity_weight=0, matching_weight=0, distill_weight=0)
    terms = backward(student, None, x, labels, alone)
    assert set(terms) == {"ce", "total"}
    assert torch.equal(terms["ce"], terms["total"])


def test_balanced_weights_go_against_the_counts_and_have_mean_one_over_the_pictures() -> None:
    labels = torch.tensor([0] * 6 + [1] * 3 + [2])
    weights = weights_of_classes("balanced", labels, 4)
    assert weights is not None
    assert torch.allclose(weights[labels].mean(), torch.tensor(1.0))
    assert torch.allclose(weights[:3] * torch.tensor([6.0, 3.0, 1.0]), weights[2].expand(3)), (
        "each class weighs the same"
    )
    assert torch.isfinite(weights).all(), "a class without pictures, too"
    assert weights_of_classes("none", labels, 4) is None


def test_the_label_loss_is_its_formula_written_out() -> None:
    logits, labels, weights = torch.randn(6, 3), torch.tensor([0, 0, 1, 1, 2, 2]), torch.tensor([0.5, 1.0, 2.0])
    each = -logits.log_softmax(1)[torch.arange(6), labels]
    assert torch.allclose(label_loss(logits, labels), each.mean())
    assert torch.allclose(label_loss(logits, labels, weights), (weights[labels] * each).mean())
    one_hot = torch.eye(3)[labels]
    assert torch.allclose(label_loss(logits, one_hot, weights), label_loss(logits, labels, weights))
    smooth = cross_entropy(logits, labels, label_smoothing=0.3)
    assert torch.equal(label_loss(logits, labels, smoothing=0.3), smooth)
    assert not torch.allclose(label_loss(logits, labels, weights, 0.3), label_loss(logits, labels, weights))


def test_a_students_cross_entropy_takes_mixed_labels_and_class_weights(backbone: Backbone) -> None:
    student, x = TailoredNet(backbone, 4, Plan(skips=1)).eval(), torch.randn(4, 3, 16, 16)
    alone = StudentConfig(complexity_weight=0, matching_weight=0, distill_weight=0)
    weights, mixed = torch.tensor([0.1, 1.0, 2.0, 0.9]), torch.rand(4, 4).softmax(1)
    with torch.no_grad():
        each = -(mixed * student(x).log_softmax(1))
    assert torch.allclose(backward(student, None, x, mixed, alone)["ce"], each.sum(1).mean(), atol=1e-5)
    found = backward(student, None, x, mixed, alone, class_weights=weights)["ce"]
    assert torch.allclose(found, (each * weights).sum(1).mean(), atol=1e-5)


def test_class_weights_act_on_teachers_and_students(backbone: Backbone, task: Task) -> None:
    """Of two classes only a few pictures are left."""
    rows = [row for row, label in enumerate(task.train.labels.tolist()) if label < 2 or row % 4 == 0]
    assert task.train.images is not None
    names, labels, images = [task.train.names[row] for row in rows], task.train.labels[rows], task.train.images[rows]
    task = replace(task, train=replace(task.train, names=names, labels=labels, images=images))
    logits = []
    for kind in ("none", "balanced"):
        run = Run(training=TrainingConfig(class_weights=kind))  # type: ignore[arg-type]
        teacher = finetune(backbone, task, replace(TEACHER, batch=15), run)
        student = tailor(backbone, task, STUDENT, Run())
        train(student, backbone.teacher(4).eval(), task, replace(STUDENT, batch=15), run)
        x = torch.randn(4, 3, 16, 16, generator=torch.Generator().manual_seed(2))
        with torch.no_grad():
            logits.append((teacher(x), student.eval()(x)))
    assert not torch.allclose(logits[0][0], logits[1][0])
    assert not torch.allclose(logits[0][1], logits[1][1])
