"""What a student is trained on (NetTailor, section 3.3; docs/how_it_works.md).

    L = CE + g1 * E[C] + g2 * Omega + gk * KL

    E[C]    expected complexity, as a fraction of all universal blocks
    Omega   mean over blocks, logits included, of the mean squared error between student's and teacher's activations
    KL      softened divergence of the logits (Hinton et al. 2015), times the squared temperature

`matching: local` gives Omega's gradient of layer l to layer l alone. It needs no second forward: layer l's own parameters
appear nowhere before layer l, so the gradient of its error with respect to just them stops at its inputs by itself, and
autograd walks back through no block that holds none of them.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, kl_div, log_softmax, mse_loss

from blocks import Activity, TailoredNet
from blocks.complexity import FORMS
from blocks.teachers import Teacher
from nettailor.training.config import StudentConfig


def backward(
    student: TailoredNet,
    teacher: Teacher | None,
    x: Tensor,
    labels: Tensor,
    weights: StudentConfig,
    targets: list[Tensor] | None = None,
    class_weights: Tensor | None = None,
) -> dict[str, Tensor]:
    """One forward of teacher and student, and the gradients of all terms added into `.grad`.

    Args:
        x: pictures (B, 3, H, W).
        labels: (B,), or probabilities (B, classes).
        teacher: not needed where neither matching nor distillation has any weight, or where `targets` are given; it has to
            give activations where these are matched.
        targets: the teacher's activations and logits for these pictures, if they are known.
        weights: weights and forms of the terms; a term of weight 0 is not computed.
        class_weights: of the cross entropy, (classes,).

    Returns:
        The loss terms by name, detached, each before its weight, and their weighted `total`.
    """
    activity, matched = student.run(x), weights.matching_weight or 0.0
    terms = {"ce": label_loss(activity.logits, labels, class_weights)}
    scaled = [terms["ce"]]
    if weights.complexity_weight:
        terms["complexity"] = expected_complexity(student, activity.gates, weights.complexity)
        scaled.append(weights.complexity_weight * terms["complexity"])
    if (matched or weights.distill_weight) and (teacher is not None or targets is not None):
        if targets is None and teacher is not None:
            with torch.no_grad():
                targets = teacher.eval().activations(x) if matched else [teacher.eval()(x)]
        assert targets is not None
        if weights.distill_weight:
            terms["distill"] = softened_divergence(activity.logits, targets[-1], weights.temperature)
            scaled.append(weights.distill_weight * terms["distill"])
        if matched:
            errors = layer_errors(activity, targets)
            terms["matching"] = torch.stack(list(errors.values())).mean()
            if weights.matching == "end_to_end":
                scaled.append(matched * terms["matching"])
            else:
                scaled.append(_local_gradients(student, activity, errors, matched / len(errors)))
    total = torch.stack(scaled).sum()
    total.backward()
    if weights.matching == "local" and "matching" in terms:
        total = total + matched * terms["matching"]
    return {name: term.detach() for name, term in (terms | {"total": total}).items()}


def label_loss(logits: Tensor, labels: Tensor, class_weights: Tensor | None = None, smoothing: float = 0.0) -> Tensor:
    """Cross entropy, mean over the batch.

    Args:
        logits: (B, classes).
        labels: (B,), or probabilities (B, classes) where pictures are mixed.
        class_weights: (classes,) of mean 1 over the training pictures. Unlike torch's own weighted mean, a batch's weights
            are not divided out again, so that a class weighs the same in whichever batch its pictures are.
    """
    if class_weights is None:
        return cross_entropy(logits.float(), labels, label_smoothing=smoothing)
    return cross_entropy(logits.float(), labels, class_weights, reduction="none", label_smoothing=smoothing).mean()


def weights_of_classes(kind: str, labels: Tensor, classes: int) -> Tensor | None:
    """Weights (classes,) of the cross entropy, of mean 1 over the pictures; None where all classes weigh the same.

    Args:
        kind: "none", or "balanced": inversely proportional to a class's number of pictures.
        labels: (N,) of the training pictures.
    """
    if kind == "none":
        return None
    counts = torch.bincount(labels, minlength=classes).float()
    weights = 1 / counts.clamp(min=1)
    return weights * len(labels) / (weights * counts).sum()


def expected_complexity(student: TailoredNet, gates: Tensor, form: str) -> Tensor:
    """E[C] as a fraction of all universal blocks."""
    return FORMS[form](gates.float(), student.cost_matrix.to(gates.device))


def softened_divergence(logits: Tensor, targets: Tensor, temperature: float) -> Tensor:
    """KL of the teacher's softened answers from the student's, times the squared temperature."""
    ours = log_softmax(logits.float() / temperature, 1)
    theirs = log_softmax(targets.float() / temperature, 1)
    return kl_div(ours, theirs, reduction="batchmean", log_target=True) * temperature**2


def layer_errors(activity: Activity, targets: list[Tensor]) -> dict[int, Tensor]:
    """Mean squared error of each layer 1..L that is alive, and of the logits under L + 1."""
    depth = len(activity.activations) - 1
    errors = {}
    for layer in range(1, depth + 1):
        mine = activity.activations[layer]
        if mine is not None:
            errors[layer] = mse_loss(mine.float(), targets[layer].float())
    errors[depth + 1] = mse_loss(activity.logits.float(), targets[-1].float())
    return errors


def _local_gradients(student: TailoredNet, activity: Activity, errors: dict[int, Tensor], weight: float) -> Tensor:
    """Add each layer's matching gradient to its own parameters.

    The gates' share is returned as a scalar of value 0 whose gradient is that share, because their logits are one matrix
    for all layers: it has to go through the rows.
    """
    carried = activity.logits.new_zeros(())
    for layer, error in errors.items():
        if not error.requires_grad:
            continue  # of a shared prefix, where nothing is the task's
        gated = layer <= student.depth
        row = [activity.rows[layer - 1]] if gated else []
        own: list[nn.Parameter] = student.layer_parameters(layer) if gated else classifier_parameters(student)
        found = torch.autograd.grad(weight * error, [*row, *own], retain_graph=True, allow_unused=True)
        if gated and found[0] is not None:
            carried = carried + ((row[0] - row[0].detach()) * found[0]).sum()
        for parameter, gradient in zip(own, found[len(row) :], strict=True):
            if gradient is not None:
                parameter.grad = gradient if parameter.grad is None else parameter.grad + gradient
    return carried


def classifier_parameters(student: TailoredNet) -> list[nn.Parameter]:
    """What trains behind the last block."""
    return [parameter for parameter in student.head.parameters() if parameter.requires_grad]


Step = Callable[[Tensor, Tensor, Tensor], dict[str, Tensor]]
"""Takes pictures, labels and their rows in the training split, leaves gradients, returns loss terms."""
