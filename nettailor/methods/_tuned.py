"""What methods share that train a network from a layer up: which layers, how fast, with which optimiser.

    Settings(tune_from, new_lr, optimizer) -> Tuning, Run -> finetune or tune -> compact

They train with the section `teacher`: its passes, learning rate, weight decay, batch, label smoothing and layer decay.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any, Literal

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass

from blocks import Backbone, NetPlan, Path, compact
from blocks.paths import UNIVERSAL
from blocks.top import Top, TopError
from blocks.whole import WholeNet
from nettailor.data.task import Task
from nettailor.errors import UsageError, did_you_mean
from nettailor.methods._beside import Beside
from nettailor.methods._protocol import BESIDE, Context, MethodSettings, Plain, Sections, Trained
from nettailor.schema import STRICT, Positive
from nettailor.training.config import TeacherConfig, TrainingConfig
from nettailor.training.finetuning import STAGE, ObjectiveOf, Tuning, finetune, labels_alone, tune
from nettailor.training.run import Run

ALL, HEAD, NEW = "all", "head", "new"
PUBLISHED_SGD: Mapping[str, Any] = {
    "optimizer": "sgd",
    "momentum": 0.9,
    "schedule": "step",
    "steps_at": (0.5, 0.75),
    "step_factor": 0.1,
}
"""Stochastic gradient descent as Wang et al. (2017) train, the rate divided by 10 in steps; where the steps are is ours."""
PUBLISHED_DECAY = 5e-4

Optimizer = Annotated[
    Literal["training", "sgd"],
    Field(
        description="as the section training says; or sgd with momentum 0.9, weight decay 5e-4 and the rate divided by 10 at "
        "1/2 and 3/4, in place of training.optimizer, its schedule and teacher.weight_decay"
    ),
]


@dataclass(config=STRICT, frozen=True)
class TuneSettings(MethodSettings):
    """Which layers are trained, and how fast.

    What is new learns as fast as the rest by default, as in a teacher; methods that grow it have the published factor of 10.
    """

    tune_from: Annotated[
        str | int,
        Field(description="all; a block by its number or name, and what is above it; head; or new: what is new alone"),
    ] = ALL
    new_lr: Annotated[
        Positive, Field(description="factor of the learning rate for what the backbone has not trained")
    ] = 1.0
    optimizer: Optimizer = "training"


def tuned(recipe: Sections) -> TuneSettings:
    """A recipe's settings of a method that tunes, as those."""
    own = recipe.method
    assert isinstance(own, TuneSettings)
    return own


def tuning_of(recipe: Sections, backbone: Backbone) -> Tuning:
    """Which layers of a backbone are trained.

    Raises:
        UsageError: the backbone has no such block.
    """
    own = tuned(recipe)
    return Tuning(first_tuned(own.tune_from, backbone), own.new_lr)


def first_tuned(tune_from: str | int, backbone: Backbone) -> int:
    """`tune_from` as `blocks.assembly.NetPlan.tuned_from` counts.

    Raises:
        UsageError: the backbone has no such block.
    """
    text, depth = str(tune_from), backbone.depth
    named = {ALL: 0, HEAD: depth + 1, NEW: depth + 2}
    named |= {name: number for number, name in enumerate(backbone.block_names, 1)}
    if text in named:
        return named[text]
    if text.isdecimal() and 1 <= int(text) <= depth:
        return int(text)
    if text.isdecimal():
        raise UsageError(f"method.tune_from: is {text}, but {backbone.name} has {depth} blocks; give 1 to {depth}")
    raise UsageError(
        f"method.tune_from: {backbone.name} has no block {text!r}{did_you_mean(text, list(named), '')}; give all, a block's "
        f"number 1 to {depth} or its name, head or new"
    )


def with_optimizer(own: TuneSettings, config: TeacherConfig, run: Run) -> tuple[TeacherConfig, Run]:
    """How a network is trained with the optimiser that a method's settings name."""
    if own.optimizer == "training":
        return config, run
    training = TrainingConfig(**{**vars(run.training), **PUBLISHED_SGD})
    return replace(config, weight_decay=PUBLISHED_DECAY), replace(run, training=training)


class Tunes(Plain):
    """What trains a network from a layer up."""

    def check_with(self, recipe: Sections, backbone: Backbone, task: Task) -> None:
        """Refuse a layer that the backbone does not have."""
        tuning_of(recipe, backbone)

    def head_trains(self, recipe: Sections, backbone: Backbone) -> bool:
        """Whether a head that is tuned trains more than what is new in it."""
        own = tuple(f"{path}." for path in backbone.classifier_paths)
        return any(not name.startswith(own) for name, _ in backbone.head.named_parameters())


class TunedBackbone(Tunes):
    """The backbone with a new classifier, trained from a layer up: plain fine-tuning, and what adds a term to its loss.

    Attributes:
        keep: stages whose networks another run may begin with.
    """

    name: str
    keep: tuple[str, ...] = ()
    reads: tuple[str, ...] = BESIDE
    settings: type[MethodSettings] = TuneSettings

    def config(self, recipe: Sections) -> TeacherConfig:
        """Its section `teacher`."""
        return recipe.teacher

    def objective(self, context: Context, beside: Beside) -> ObjectiveOf[Backbone]:
        """What it is trained towards.

        Args:
            beside: has the source's classifier, where source pictures are named.
        """
        return labels_alone

    def stages(self, recipe: Sections) -> dict[str, int]:
        """One."""
        return {STAGE: self.config(recipe).epochs}

    def train(self, context: Context) -> Trained:
        """One stage, `teacher`."""
        backbone, task, recipe = context.backbone, context.task, context.recipe
        tuning = tuning_of(recipe, backbone)
        config, run = with_optimizer(tuned(recipe), self.config(recipe), context.run)
        beside = Beside(context)
        with run.timed(STAGE):
            net = finetune(backbone, task, config, run, tuning, beside.watched(self.objective(context, beside)))
            record = beside.record(net, tuning.tuned_from)
        epochs: dict[str, float] = {STAGE: run.passes(STAGE)}
        return Trained(compact(net, backbone), epochs=epochs, keep=self.keep, beside=record)


class TunedTop(Tunes):
    """A top in the place of the backbone's head, trained with the layers below it from one of them up."""

    name: str
    settings: type[MethodSettings] = TuneSettings

    @abstractmethod
    def top(self, context: Context) -> Top:
        """What stands on the backbone.

        Raises:
            UsageError: this backbone or this task can't have it.
        """

    def begin(self, net: WholeNet, context: Context) -> None:
        """Give what is new in a fresh network its first values; what is random is seeded already."""

    def objective(self, context: Context) -> ObjectiveOf[WholeNet]:
        """What it is trained towards."""
        return labels_alone

    def stages(self, recipe: Sections) -> dict[str, int]:
        """One."""
        return {self.name: recipe.teacher.epochs}

    def new_net(self, context: Context) -> WholeNet:
        """A fresh network where the run is.

        Raises:
            UsageError: this backbone or this task can't have it.
        """
        backbone, run = context.backbone, context.run
        first = tuning_of(context.recipe, backbone).tuned_from
        paths = tuple(Path(layer, 0, UNIVERSAL) for layer in range(1, backbone.depth + 1))
        torch.manual_seed(run.seed)
        plan = NetPlan(
            paths, len(context.task.classes), copied=True, gated=False, tuned_from=first, top=self.top(context)
        )
        try:
            net = WholeNet(backbone, plan).to(run.device)
        except TopError as error:
            raise UsageError(f"method {self.name}: {error}") from error
        self.begin(net, context)
        return net

    def train(self, context: Context) -> Trained:
        """One stage, called after the method."""
        recipe, task = context.recipe, context.task
        config, run = with_optimizer(tuned(recipe), recipe.teacher, context.run)
        self.new_net(context)  # refused before any training
        with run.timed(self.name):
            net = tune(
                self.name,
                lambda rate: self.new_net(context),
                task,
                config,
                run,
                tuning_of(recipe, context.backbone),
                self.objective(context),
            )
        return Trained(compact(net), epochs={self.name: run.passes(self.name)})
