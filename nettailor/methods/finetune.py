"""Fine-tuning: a whole copy of the backbone with a new classifier, all of it trained with cross entropy.

It is also the first stage of every method that learns from a teacher. Its settings are the section `teacher`; on a board it
may stand more than once, trained for longer than the teacher that the others learn from.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any

from pydantic import Field
from pydantic.dataclasses import dataclass

from blocks import compact
from nettailor.methods._protocol import Context, MethodSettings, Plain, Sections, Trained
from nettailor.schema import STRICT, Count
from nettailor.training.config import TeacherConfig
from nettailor.training.stages import finetune


@dataclass(config=STRICT, frozen=True)
class Settings(MethodSettings):
    """How long, where it is not as long as a teacher."""

    passes: Annotated[Count | None, Field(description="after the search for its rate; left out: teacher.epochs")] = None


class Finetune(Plain):
    """The whole backbone fine-tuned."""

    name = "finetune"
    summary = "the whole backbone fine-tuned"
    settings: type[MethodSettings] = Settings
    variants: Mapping[str, Mapping[str, Any]] = {"40": {"passes": 40}, "90": {"passes": 90}}

    def stages(self, recipe: Sections) -> dict[str, int]:
        """One."""
        return {"teacher": _config(recipe).epochs}

    def train(self, context: Context) -> Trained:
        """One stage, `teacher`."""
        config = _config(context.recipe)
        with context.run.timed("teacher"):
            net = finetune(context.backbone, context.task, config, context.run)
        epochs: dict[str, float] = {"teacher": context.run.passes("teacher")}
        return Trained(compact(net, context.backbone), epochs=epochs, keep=("teacher", "teacher-rate"))


def _config(recipe: Sections) -> TeacherConfig:
    own = recipe.method
    passes = own.passes if isinstance(own, Settings) else None
    return recipe.teacher if passes is None else replace(recipe.teacher, epochs=passes)


METHOD = Finetune()
