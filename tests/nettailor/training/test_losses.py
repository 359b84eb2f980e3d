"""What a student is trained on: the terms of the loss, one by one."""

from __future__ import annotations

import pytest
import torch

from blocks import Backbone, Plan, TailoredNet
from nettailor.data.task import Task
from nettailor.training.config import Matching, StudentConfig
from nettailor.training.loop import Run
from nettailor.training.losses import backward, layer_errors, softened_divergence
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
