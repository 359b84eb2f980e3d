"""Linear probe: a new classifier on the frozen backbone, whose norms keep their statistics.

Fitted in closed form of its features, which are computed once (`training.probe`); where a network's classifier is no single
linear layer on one vector, it is trained like the other methods on a frozen backbone.
"""

from __future__ import annotations

from blocks import Plan, TailoredNet, compact
from nettailor.methods._frozen_backbone import FrozenBackbone
from nettailor.methods._protocol import Context, Trained
from nettailor.training.probe import fit_probe


class Linear(FrozenBackbone):
    """A classifier alone."""

    name = "linear"
    summary = "a new classifier on the frozen backbone"
    plan = Plan(skips=0, batch_norm="source")

    def train(self, context: Context) -> Trained:
        """One stage, `linear`."""
        backbone, task, run = context.backbone, context.task, context.run
        with run.timed(self.name):
            probe = fit_probe(backbone, task, run)
        if probe is None:
            return super().train(context)
        net = TailoredNet(backbone, len(task.classes), self.plan).to(run.device)
        probe.write(net.head, backbone.classifier_paths[0])
        return Trained(compact(net), epochs={self.name: 1})


METHOD = Linear()
