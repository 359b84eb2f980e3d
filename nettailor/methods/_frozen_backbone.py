"""Methods that train something beside a frozen backbone, from the labels alone: a student without proxies.

    Plan (norms, adapters) -> TailoredNet -> fit to labels -> compact

They train with the section `student`: its epochs, learning rate, weight decay and batch.
"""

from __future__ import annotations

import torch

from blocks import Plan, TailoredNet, compact
from nettailor.methods._protocol import Context, Plain, Sections, Trained
from nettailor.training.loop import Schedule, parameter_groups
from nettailor.training.stages import fit_to_labels


class FrozenBackbone(Plain):
    """A classifier, and what `plan` adds, on a frozen backbone."""

    name: str
    plan: Plan

    def stages(self, recipe: Sections) -> dict[str, int]:
        """One."""
        return {self.name: recipe.student.epochs}

    def train(self, context: Context) -> Trained:
        """One stage, called after the method."""
        task, run, config = context.task, context.run, context.recipe.student
        with run.timed(self.name):
            torch.manual_seed(run.seed + 1)
            net = TailoredNet(context.backbone, len(task.classes), self.plan).to(run.device)
            groups = parameter_groups(net.trained_parameters(), config.lr, config.weight_decay)
            schedule = Schedule(config.epochs, config.batch)
            fitted = fit_to_labels(self.name, net, net.task_tensors(), groups, schedule, task, run)
        return Trained(compact(net), epochs={self.name: fitted.epochs})
