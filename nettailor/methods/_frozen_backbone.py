"""Methods that train something beside a frozen backbone, from the labels alone: a student without proxies.

    Plan (norms, adapters) -> TailoredNet -> linear probe -> fit to labels -> compact

They train with the section `student`: its learning rate, weight decay and batch; as long as fine-tuning (`teacher.epochs`),
because a student's own training is short only where it begins as its teacher. Where no rate is configured, it is found as the
teacher's is, among higher ones. Norms that are trained adopt the task's statistics first, as in fine-tuning from a probe.
"""

from __future__ import annotations

import torch

from blocks import Plan, TailoredNet, compact
from nettailor.methods._protocol import Context, Plain, Sections, Trained
from nettailor.training.finetuning import adopt_statistics_of, fit_to_labels
from nettailor.training.loop import Schedule, parameter_groups
from nettailor.training.probe import fit_probe
from nettailor.training.rates import loss_on, rates_of_few, search_rate, trial_epochs
from nettailor.training.run import Run


class FrozenBackbone(Plain):
    """A classifier, and what `plan` adds, on a frozen backbone."""

    name: str
    plan: Plan

    def stages(self, recipe: Sections) -> dict[str, int]:
        """One."""
        return {self.name: recipe.teacher.epochs}

    def train(self, context: Context) -> Trained:
        """One stage, called after the method."""
        backbone, task, run, config = context.backbone, context.task, context.run, context.recipe.student
        with run.timed(self.name):
            probe = None if run.checkpoints.has(self.name) else fit_probe(backbone, task, run)

        def trained(rate: float, epochs: int, run: Run) -> TailoredNet:
            torch.manual_seed(run.seed + 1)
            net = TailoredNet(backbone, len(task.classes), self.plan).to(run.device)
            if probe is not None:
                probe.write(net.head, backbone.classifier_paths[0])
                adopt_statistics_of(task, net, run)
            groups = parameter_groups(net.trained_parameters(), rate, config.weight_decay)
            schedule = Schedule(epochs, config.batch)
            fit_to_labels(self.name, net, net.task_tensors(), groups, schedule, task, run)
            return net

        def trial(rate: float, run: Run) -> float:
            epochs = trial_epochs(len(task.train), config.batch, run.training.accumulate)
            return loss_on(trained(rate, epochs, run), task.val, backbone.spec)

        with run.timed(self.name):
            rate = config.lr
            if rate is None:
                rate = search_rate(self.name, trial, task, config.batch, run, rates_of_few(run.training))
            net = trained(rate, context.recipe.teacher.epochs, run)
        return Trained(compact(net), epochs={self.name: run.passes(self.name)})
