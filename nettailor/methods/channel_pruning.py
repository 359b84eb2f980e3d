"""The fine-tuned backbone pruned by channels with Torch-Pruning, trained in between and after. A control.

    teacher -> a copy -> (fewer channels -> training) x rounds -> compact

Every round takes the same part of the MACs that are left; half of the passes lie between the rounds, the others after the
last. It is trained at the teacher's rate, on the labels and, with `distill`, on the teacher's answers.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from blocks import Backbone, compact
from blocks.counting import tensors_of
from nettailor.methods._protocol import Context, FinishedRun, MethodSettings, Plain, Sections, Taught, Trained
from nettailor.methods._whole_net import Distill, Passes, epochs_left
from nettailor.pruning.channels import ChannelImportance, ChannelPruner, need_torch_pruning
from nettailor.schema import STRICT, Count
from nettailor.training.distillation import fit_distilled
from nettailor.training.finetuning import finetune, fit_to_labels
from nettailor.training.layerwise import layerwise_groups
from nettailor.training.loop import Schedule
from nettailor.training.run import Run


@dataclass(config=STRICT, frozen=True)
class Settings(MethodSettings):
    """How much is pruned, by what, and how it is trained."""

    name: Literal["channel_pruning"] = "channel_pruning"
    macs: Annotated[
        float, Field(gt=0, le=1, description="part of the backbone's MACs to prune to; compare takes our net's")
    ] = 0.5
    importance: Annotated[
        ChannelImportance,
        Field(description="of channels: group_norm, of all tensors that hang together; magnitude, of a filter alone"),
    ] = "group_norm"
    rounds: Annotated[Count, Field(description="of pruning, each followed by training")] = 5
    passes: Passes = None
    distill: Distill = True


class ChannelPruning(Plain):
    """The fine-tuned backbone with fewer channels."""

    name = "channel_pruning"
    summary = "the fine-tuned backbone pruned by channels with Torch-Pruning"
    needs_teacher = True
    any_teacher = False
    settings: type[MethodSettings] = Settings
    sized_like: str | None = "nettailor"
    variants: Mapping[str, Mapping[str, Any]] = {
        "magnitude": {"importance": "magnitude"},
        "labels": {"distill": False},
    }

    def check(self, recipe: Sections) -> None:
        """Refuse where Torch-Pruning is not installed."""
        super().check(recipe)
        need_torch_pruning(self.name)

    def stages(self, recipe: Sections) -> dict[str, int]:
        """Two: the teacher, and all training after it."""
        teacher = recipe.teacher.epochs
        return {"teacher": teacher, self.name: sum(_shares(_own(recipe.method), teacher, teacher))}

    def train(self, context: Context) -> Trained:
        """The teacher, and a stage `channel_pruning-N` for each round."""
        recipe, backbone, task, run = context.recipe, context.backbone, context.task, context.run
        own = _own(recipe.method)
        with run.timed("teacher"):
            teacher = finetune(backbone, task, recipe.teacher, run)
        shares = _shares(own, recipe.teacher.epochs, run.passes("teacher"))
        with run.timed(self.name):
            net = copy.deepcopy(teacher).requires_grad_(True)
            pruner = ChannelPruner(net, own.importance)
            whole, wanted = pruner.macs, own.macs * backbone.cost.macs
            for number, epochs in enumerate(shares, 1):
                goal = whole * (wanted / whole) ** (number / len(shares))
                left = pruner.shrink_to(goal)
                if left > goal:
                    run.display.say(f"{self.name}: {left / backbone.cost.macs:.3f} of the MACs, no layer can lose more")
                self._fit(f"{self.name}-{number}", net, epochs, context, teacher if own.distill else None, run)
        passes = sum(run.passes(f"{self.name}-{number}") for number in range(1, len(shares) + 1))
        net.requires_grad_(False).eval()
        taught = Taught(teacher, "finetune", ("start", *(("answers",) if own.distill else ())))
        return Trained(compact(net, backbone), taught, {"teacher": run.passes("teacher"), self.name: passes})

    def sized(self, own: MethodSettings, other: FinishedRun) -> MethodSettings:
        """The MACs of another run's compact net, and as many passes as all of that run."""
        part = other.report.compact.macs / other.report.backbone.macs
        return replace(_own(own), macs=min(1.0, part), passes=other.passes)

    def _fit(
        self, stage: str, net: Backbone, epochs: int, context: Context, teacher: Backbone | None, run: Run
    ) -> None:
        config, task = context.recipe.teacher, context.task
        assert run.rate is not None, "the teacher has been trained"
        groups = layerwise_groups(net, run.rate, config.weight_decay, config.layer_decay)
        job = stage, net, tensors_of(net), groups, Schedule(epochs, config.batch), task, run
        if teacher is None:
            fit_to_labels(*job, config.label_smoothing)
        else:
            fit_distilled(*job, teacher, context.recipe.student, config.label_smoothing)


def _shares(own: Settings, epochs: int, teacher: int) -> list[int]:
    """Passes after each round: half of all before the last, as far as they go; the others after it."""
    left = epochs if own.passes is None else epochs_left(own.passes, teacher)
    between = min(own.rounds - 1, left // 2)
    each = left // 2 // between if between else 0
    return [each] * between + [left - each * between]


def _own(settings: MethodSettings) -> Settings:
    assert isinstance(settings, Settings)
    return settings


METHOD = ChannelPruning()
