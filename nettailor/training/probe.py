"""The linear probe: a classifier on features of the frozen backbone, computed once, every picture unvaried.

    pictures -> frozen backbone -> what its classifier reads (N, d) -> logistic regression -> Probe(weight, bias)

It is a method of its own, and where fine-tuning begins: a new classifier that fits the features already leaves them less to
be distorted by its first steps (Kumar et al., 2022, "LP-FT").
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
import torch
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from torch import Tensor, nn

from blocks import Backbone
from nettailor.data.batches import evaluation_batches
from nettailor.data.task import Split, Task
from nettailor.training.run import Run

STRENGTHS = (0.003, 0.03, 0.3)
"""Inverse weights of the penalty on standardised features; the best on the validation split is taken."""
MOST_ITERATIONS = 200


@dataclass
class Probe:
    """A classifier: weight (classes, d) and bias (classes,), and its cross entropy on the validation split."""

    weight: Tensor
    bias: Tensor
    val_loss: float

    @torch.no_grad()
    def write(self, head: nn.Module, path: str) -> None:
        """Put it into a net's classifier, a linear layer or a 1x1 convolution at `path` of its head."""
        classifier = head.get_submodule(path)
        classifier.weight.copy_(self.weight.view_as(classifier.weight))  # type: ignore[arg-type, operator]
        if classifier.bias is not None:
            classifier.bias.copy_(self.bias)  # type: ignore[operator]


def fit_probe(backbone: Backbone, task: Task, run: Run) -> Probe | None:
    """Fit a new classifier on the frozen backbone; None where no single linear layer reads one vector a picture.

    Of the section `training` it reads `class_weights`; all else there is about steps, which it does not take.
    """
    if len(backbone.classifier_paths) != 1:
        return None
    found = [features(backbone, split, run) for split in (task.train, task.val)]
    if any(matrix is None for matrix in found):
        return None
    train, val = (matrix.double().numpy() for matrix in found if matrix is not None)
    mean, scale = train.mean(0), train.std(0) + 1e-6 * (train.std() + 1e-12)
    train, val = (train - mean) / scale, (val - mean) / scale
    labels, wanted = task.train.labels.numpy(), task.val.labels.numpy()
    weights = None if run.training.class_weights == "none" else run.training.class_weights  # scikit-learn's name for it
    model = LogisticRegression(max_iter=MOST_ITERATIONS, tol=1e-3, warm_start=True, class_weight=weights)
    best: Probe | None = None
    for strength in STRENGTHS:
        model.set_params(C=strength)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # not yet at the optimum is good enough to begin with
            model.fit(train, labels)
        loss = log_loss(wanted, model.predict_proba(val), labels=np.arange(len(task.classes)))
        if best is None or loss < best.val_loss:
            best = _probe(model, mean, scale, float(loss))
    return best


def _probe(model: LogisticRegression, mean: np.ndarray, scale: np.ndarray, loss: float) -> Probe:
    """The classifier for features as they are; of two classes scikit-learn keeps one row, which is their difference."""
    rows, bias = model.coef_, model.intercept_
    if len(rows) == 1:
        rows, bias = np.concatenate([-rows, rows]) / 2, np.concatenate([-bias, bias]) / 2
    weight = rows / scale
    return Probe(torch.from_numpy(weight).float(), torch.from_numpy(bias - weight @ mean).float(), loss)


@torch.no_grad()
def features(backbone: Backbone, split: Split, run: Run) -> Tensor | None:
    """What the classifier reads of every picture of a split (N, d), on the CPU; None where it is not one vector each."""
    backbone.eval()
    classifier = backbone.head.get_submodule(backbone.classifier_paths[0])
    seen: list[Tensor] = []
    handle = classifier.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    try:
        for x, _ in evaluation_batches(split, backbone.spec, run.device):
            with run.autocast():
                backbone(x)
            if seen[-1].flatten(1).shape[1] != backbone.features:
                return None
    finally:
        handle.remove()
    return torch.cat([matrix.flatten(1).float().cpu() for matrix in seen])
