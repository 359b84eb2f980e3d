"""Training of a whole net on labels and a teacher's answers: what a student learns from, without matching and gates.

L = CE + gk * KL        gk and the temperature are those of the section `student`
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from blocks.teachers import Teacher
from nettailor.data.task import Task
from nettailor.training.config import StudentConfig
from nettailor.training.finetuning import class_weights
from nettailor.training.layerwise import Whole
from nettailor.training.loop import Schedule, accuracy, fit
from nettailor.training.losses import label_loss, softened_divergence
from nettailor.training.run import Fitted, Run


def fit_distilled(
    stage: str,
    net: Whole,
    own: dict[str, Tensor],
    groups: list[dict[str, Any]],
    schedule: Schedule,
    task: Task,
    run: Run,
    teacher: Teacher,
    config: StudentConfig,
    label_smoothing: float = 0.0,
) -> Fitted:
    """Train a net with cross entropy and the softened divergence from a teacher; arguments as those of `loop.fit`."""
    weights, answers = class_weights(task, run), teacher.frozen_copy()

    def step(x: Tensor, labels: Tensor, rows: Tensor) -> dict[str, Tensor]:
        with torch.no_grad():
            targets = answers(x)
        logits = net(x)
        terms = {
            "ce": label_loss(logits, labels, weights, label_smoothing),
            "distill": softened_divergence(logits, targets, config.temperature),
        }
        (terms["ce"] + config.distill_weight * terms["distill"]).backward()
        return {name: term.detach() for name, term in terms.items()}

    def evaluate(epoch: int) -> dict[str, float]:
        return {"val_accuracy": accuracy(net, task.val)}

    return fit(stage, net, own, groups, schedule, task, net.spec, step, evaluate, run)
