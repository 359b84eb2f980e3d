"""Fine-tuning that keeps the source classifier and puts new layers on what it says (`blocks.kept_classifier`).

    W_s h + b_s -> N -> [layer, ReLU, N] x n -> new classifier; trained with cross entropy, whole or from a layer up

The idea is that of Shermin et al. (2019), of which only the abstract is known here. Below `tune_from: head` the source
classifier trains as the layers do; with `new` it stays the backbone's, frozen. A random one in its place is a new layer, and
always trains.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass

from blocks import Backbone, KeptClassifier
from blocks.kept_classifier import MOST_LAYERS, Norm, Source
from blocks.scaled_norm import ScaledNorm
from blocks.top import Top, TopError
from blocks.whole import WholeNet
from nettailor.backbones.source_classifier import looks_random
from nettailor.data.task import Task
from nettailor.errors import UsageError
from nettailor.methods._protocol import Context, MethodSettings, Sections
from nettailor.methods._tuned import TunedTop, TuneSettings
from nettailor.schema import STRICT, Positive


@dataclass(config=STRICT, frozen=True)
class Settings(TuneSettings):
    """What stands on h, and how it is trained."""

    new_lr: Annotated[
        Positive, Field(description="factor of the learning rate for what the backbone has not trained")
    ] = 10.0
    layers: Annotated[
        int, Field(ge=0, le=MOST_LAYERS, description="new hidden layers before the new classifier, as wide as h")
    ] = 1
    norm: Annotated[
        Norm, Field(description="before every new layer: l2 with a factor per channel, batch norm, or none")
    ] = "l2"
    classifier: Annotated[
        Source,
        Field(description="the source classifier kept, dropped, or a random layer of its shape in its place: controls"),
    ] = "kept"
    scale: Annotated[Positive, Field(description="what the factors of norm l2 begin as")] = 10.0

    def top(self) -> KeptClassifier:
        """What stands on h."""
        return KeptClassifier(self.layers, self.norm, self.classifier)


class KeepClassifier(TunedTop):
    """The backbone fine-tuned with its source classifier, and new layers on that."""

    name = "keep_classifier"
    summary = "fine-tuning that keeps the source classifier and puts new layers on it"
    settings: type[MethodSettings] = Settings
    variants: Mapping[str, Mapping[str, Any]] = {
        "dropped": {"classifier": "dropped"},
        "random": {"classifier": "random"},
        "0": {"layers": 0},
        "2": {"layers": 2},
        "batch": {"norm": "batch"},
        "none": {"norm": "none"},
    }

    def check_with(self, recipe: Sections, backbone: Backbone, task: Task) -> None:
        """Refuse a head that has no such top, too."""
        super().check_with(recipe, backbone, task)
        try:
            with torch.device("meta"):
                _own(recipe).top().build(backbone, len(task.classes))
        except TopError as error:
            raise UsageError(f"method {self.name}: {error}") from error

    def check_weights(self, recipe: Sections, backbone: Backbone) -> None:
        """Refuse to keep a source classifier that nobody trained."""
        if _own(recipe).classifier == "kept" and looks_random(backbone):
            raise UsageError(
                f"method {self.name}: the source classifier of {backbone.name} has random weights, so there is nothing to "
                "keep; give trained weights with --weights FILE, or set method.classifier=random"
            )

    def head_trains(self, recipe: Sections, backbone: Backbone) -> bool:
        """The source classifier does, too, where it is kept."""
        return _own(recipe).classifier == "kept" or super().head_trains(recipe, backbone)

    def top(self, context: Context) -> Top:
        """As the settings say."""
        return _own(context.recipe).top()

    @torch.no_grad()
    def begin(self, net: WholeNet, context: Context) -> None:
        """Set the factors of the norms."""
        for module in net.head.modules():
            if isinstance(module, ScaledNorm):
                module.gamma.fill_(_own(context.recipe).scale)


def _own(recipe: Sections) -> Settings:
    assert isinstance(recipe.method, Settings)
    return recipe.method


METHOD = KeepClassifier()
