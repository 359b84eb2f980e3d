"""NetTailor: teacher, student, prune, recover."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from blocks import Backbone, TailoredNet
from nettailor.artifacts.cost_table import CostTable, measure_costs, prices, read_costs
from nettailor.artifacts.run_folder import RunFolder
from nettailor.jobs.context import Context
from nettailor.jobs.recipe import Recipe
from nettailor.pruning.prune import Pruned, prune, snapshot
from nettailor.pruning.recover import Recovered, recover_leanest
from nettailor.training.loop import Fitted
from nettailor.training.losses import expected_complexity
from nettailor.training.stages import finetune, plan_of, tailor, train


@dataclass
class _Trained:
    """The nets of a run, and what its stages measured."""

    teacher: Backbone
    student: TailoredNet
    unpruned: dict[str, torch.Tensor]
    pruned: Pruned
    recovered: Recovered
    stages: dict[str, Fitted]
    expected: float


def _own_cost_table(recipe: Recipe, job: Context, folder: RunFolder) -> CostTable:
    """The milliseconds that a run counts in; measured once and kept, so that a run that goes on counts as it did."""
    if not folder.costs.is_file():
        job.run.display.say("measuring every block and proxy on this device ...")
        plan = plan_of(recipe.student)
        measure_costs(job.backbone, plan, 1, torch.get_num_threads(), job.run.device).write(folder.costs)
    return read_costs(folder.costs)


def _train_all(recipe: Recipe, job: Context, table: CostTable | None) -> _Trained:
    backbone, task, run = job.backbone, job.task, job.run
    student = tailor(backbone, task, recipe.student, run)
    student.use_cost_model(
        prices(student, recipe.cost, table, recipe.cost_table or "costs.json")
    )  # refused before any training
    teacher = finetune(backbone, task, recipe.teacher, run)
    train(student, teacher, task, recipe.student, run)
    unpruned = snapshot(student)
    expected = float(expected_complexity(student, student.gates().detach(), recipe.student.complexity))
    pruned = prune(student, teacher, task, recipe.prune, recipe.student, run)
    recovered = recover_leanest(student, teacher, task, pruned, recipe.recover, recipe.prune.drop, recipe.student, run)
    return _Trained(teacher, student, unpruned, pruned, recovered, run.fitted, expected)
