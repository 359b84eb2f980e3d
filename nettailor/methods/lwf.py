"""Learning without forgetting (Li & Hoiem 2016): the frozen source network's answers to the target's pictures are kept.

    L(t) = CE(C h(x_T), y_T) + lambda(t) * 2^2 KL(W_s h(x_T) + b_s from the frozen network's answers to x_T)

No source picture is needed. Theirs: the loss, temperature 2, a constant lambda of 1, and that W_s begins as the pretrained
network's own classifier and is trained. Ours: a lambda that falls (`method.schedule`), as `soft` has it; that both parts of
the divergence are softened and multiplied with the squared temperature, as everywhere here; and that the new classifier is
not trained alone at first, but begins as fine-tuning's does (`teacher.start`). It trains with the section `teacher`, at the
rate of plain fine-tuning.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from blocks import Backbone
from nettailor.methods._beside import Beside
from nettailor.methods._protocol import Context, MethodSettings
from nettailor.methods._tuned import TunedBackbone, TuneSettings
from nettailor.methods.soft import FALLS, Until, Weight
from nettailor.schema import STRICT
from nettailor.training.finetuning import ObjectiveOf
from nettailor.training.soft import remembering
from nettailor.training.source_head import kept_head
from nettailor.training.source_weight import Falls, SourceWeight


@dataclass(config=STRICT, frozen=True)
class Settings(TuneSettings):
    """How much the old answers weigh, and for how long."""

    name: Literal["lwf"] = "lwf"
    weight: Weight = 1.0
    schedule: Annotated[Falls, Field(description=f"{FALLS}: as published")] = "constant"
    until: Until = 0.5


class WithoutForgetting(TunedBackbone):
    """The backbone fine-tuned so that it still answers as it did."""

    name = "lwf"
    summary = "the backbone fine-tuned, its own old answers kept beside (learning without forgetting)"
    settings: type[MethodSettings] = Settings
    variants: Mapping[str, Mapping[str, Any]] = {"falling": {"schedule": "linear"}}

    def objective(self, context: Context, beside: Beside) -> ObjectiveOf[Backbone]:
        """The old answers beside the labels."""
        own, head = context.recipe.method, beside.head
        assert isinstance(own, Settings)
        if head is None or head.kind != "kept":
            head = kept_head(context.backbone)
        return remembering(context.backbone, head, SourceWeight(own.weight, own.schedule, own.until))


METHOD = WithoutForgetting()
