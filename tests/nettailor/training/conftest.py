"""All stages of a run, one behind the other."""

from __future__ import annotations

import torch

from blocks import Backbone
from blocks import Path as GraphPath
from nettailor.data.task import Task
from nettailor.pruning.config import PruneConfig
from nettailor.pruning.prune import prune
from nettailor.training.config import RecoverConfig
from nettailor.training.loop import Run, accuracy
from nettailor.training.stages import finetune, recover, tailor, train
from tests.nettailor.conftest import STUDENT, TEACHER


def everything(backbone: Backbone, task: Task, run: Run) -> tuple[dict[str, torch.Tensor], list[GraphPath], float]:
    teacher = finetune(backbone, task, TEACHER, run)
    student = tailor(backbone, task, STUDENT, run)
    train(student, teacher, task, STUDENT, run)
    choice = PruneConfig(epochs=2, drop=100, patience=0, shrink=0.75)
    pruned = prune(student, teacher, task, choice, STUDENT, run)
    recover(student, teacher, task, RecoverConfig(epochs=2), STUDENT, run)
    value = accuracy(student, task.test)
    return {n: t.clone() for n, t in student.task_tensors().items()}, pruned.graph.paths, value
