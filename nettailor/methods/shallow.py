"""A shallower cut: the backbone's first blocks with a new classifier on their mean, all of it fine-tuned. A control.

Trained like the teacher, with the section `teacher`; as many blocks as make up the wanted part of the backbone's MACs.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Literal

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass

from blocks import compact
from blocks.counting import tensors_of
from blocks.shallow import ShallowNet, depth_for
from nettailor.artifacts.report import Report
from nettailor.methods._protocol import Context, MethodSettings, Plain, Sections, Trained
from nettailor.schema import STRICT
from nettailor.training.layerwise import layerwise_groups
from nettailor.training.loop import Schedule
from nettailor.training.rates import loss_on, search_rate, trial_epochs
from nettailor.training.run import Run
from nettailor.training.stages import fit_to_labels

ROUNDING = 1e-9  # a part of the MACs is a quotient; it must not ask for a block more by its last bit


@dataclass(config=STRICT, frozen=True)
class Settings(MethodSettings):
    """How deep the cut is."""

    name: Literal["shallow"] = "shallow"
    macs: Annotated[
        float, Field(gt=0, le=1, description="at least this part of the backbone's MACs; compare takes our net's")
    ] = 1.0


class Shallow(Plain):
    """The backbone's first blocks, fine-tuned."""

    name = "shallow"
    summary = "the backbone's first blocks and a new classifier, fine-tuned"
    settings: type[MethodSettings] = Settings
    sized_like = "nettailor"

    def stages(self, recipe: Sections) -> dict[str, int]:
        """One."""
        return {self.name: recipe.teacher.epochs}

    def train(self, context: Context) -> Trained:
        """One stage, `shallow`."""
        backbone, task, run, config = context.backbone, context.task, context.run, context.recipe.teacher
        own = context.recipe.method
        assert isinstance(own, Settings)
        depth = depth_for(backbone, own.macs * backbone.cost.macs * (1 - ROUNDING))

        def trained(rate: float, epochs: int, run: Run) -> ShallowNet:
            torch.manual_seed(run.seed + 1)
            net = ShallowNet(backbone, depth, len(task.classes)).to(run.device)
            groups = layerwise_groups(net, rate, config.weight_decay, config.layer_decay)
            schedule = Schedule(epochs, config.batch)
            fit_to_labels(self.name, net, tensors_of(net), groups, schedule, task, run, config.label_smoothing)
            return net

        def trial(rate: float, run: Run) -> float:
            return loss_on(trained(rate, trial_epochs(len(task.train), config.batch), run), task.val, backbone.spec)

        with run.timed(self.name):
            rate = config.lr if config.lr is not None else search_rate(self.name, trial, task, config.batch, run)
            net = trained(rate, config.epochs, run)
        return Trained(compact(net, backbone), epochs={self.name: run.passes(self.name)})

    def sized(self, own: MethodSettings, report: Report) -> MethodSettings:
        """At least as many MACs as the compact net of another run."""
        assert isinstance(own, Settings)
        return replace(own, macs=min(1.0, report.compact.macs / report.backbone.macs))


METHOD = Shallow()
