"""Soft fine-tuning (Zhao et al. 2019): the source task's loss is kept beside the target's and removed softly.

    L(t) = CE(C h(x_T), y_T) + lambda(t) * CE(W_s h(x_S) + b_s, y_S)         `training.soft`, `training.source_weight`

Of the paper only the abstract is known to us: that the source's loss is kept beside the target's, with a classifier of its
own, and goes away. Ours: the schedules of lambda and that it ends at half of the steps, batches of one size, that running
statistics follow the target, that W_s begins as the backbone's own classifier, and everything else. It trains with the
section `teacher`, at the rate of plain fine-tuning; with `method.weight=0` it is that, bit for bit.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from blocks import Backbone
from nettailor.errors import UsageError
from nettailor.methods._beside import Beside
from nettailor.methods._protocol import Context, MethodSettings, Sections
from nettailor.methods._tuned import TunedBackbone, TuneSettings
from nettailor.schema import STRICT, NotNegative
from nettailor.training.finetuning import ObjectiveOf
from nettailor.training.soft import Norms, softly
from nettailor.training.source_weight import Falls, SourceWeight

Weight = Annotated[NotNegative, Field(description="lambda at the first step: of the source's loss beside the target's")]
Until = Annotated[
    float, Field(gt=0, le=1, description="part of all steps at which lambda is zero; not read by constant")
]
FALLS = "how lambda falls to zero: linear, cosine, exponential, step; or constant to the end"


@dataclass(config=STRICT, frozen=True)
class Settings(TuneSettings):
    """How much the source weighs, and for how long."""

    name: Literal["soft"] = "soft"
    weight: Weight = 1.0
    schedule: Annotated[Falls, Field(description=f"{FALLS}: joint training")] = "linear"
    until: Until = 0.5
    norms: Annotated[
        Norms,
        Field(description="normalise source pictures by their own batch, or by the running statistics, the target's"),
    ] = "batch"


class Soft(TunedBackbone):
    """The backbone fine-tuned beside pictures of its source, which go away."""

    name = "soft"
    summary = "the backbone fine-tuned, its source's loss beside the target's at first"
    settings: type[MethodSettings] = Settings
    needs_source = True
    variants: Mapping[str, Mapping[str, Any]] = {"joint": {"schedule": "constant"}}

    def check(self, recipe: Sections) -> None:
        """Refuse a recipe without source pictures."""
        super().check(recipe)
        if recipe.source.data is None:
            raise UsageError(
                "source.data: soft needs pictures of the source: class folders, a zip of them or a torchvision data set; "
                "without any, lwf is the method that needs none"
            )

    def objective(self, context: Context, beside: Beside) -> ObjectiveOf[Backbone]:
        """The source's loss beside the labels'."""
        own = context.recipe.method
        assert isinstance(own, Settings)
        assert context.source is not None
        assert beside.head is not None
        return softly(context.source, beside.head, SourceWeight(own.weight, own.schedule, own.until), own.norms)


METHOD = Soft()
