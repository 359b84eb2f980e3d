"""Fine-tuning: a whole copy of the backbone with a new classifier, all of it trained with cross entropy.

It is also the first stage of every method that learns from a teacher. Its settings are the section `teacher`.
"""

from __future__ import annotations

from typing import Literal

from pydantic.dataclasses import dataclass

from blocks import compact
from nettailor.methods._protocol import Context, MethodSettings, Plain, Sections, Trained
from nettailor.schema import STRICT
from nettailor.training.stages import finetune


@dataclass(config=STRICT, frozen=True)
class Settings(MethodSettings):
    """It has none of its own."""

    name: Literal["finetune"] = "finetune"


class Finetune(Plain):
    """The whole backbone fine-tuned."""

    name = "finetune"
    summary = "the whole backbone fine-tuned"
    settings = Settings

    def stages(self, recipe: Sections) -> dict[str, int]:
        """One."""
        return {"teacher": recipe.teacher.epochs}

    def train(self, context: Context) -> Trained:
        """One stage, `teacher`."""
        config = context.recipe.teacher
        with context.run.timed("teacher"):
            net = finetune(context.backbone, context.task, config, context.run)
        return Trained(compact(net, context.backbone), epochs={"teacher": config.epochs}, keep=("teacher",))


METHOD = Finetune()
