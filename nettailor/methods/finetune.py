"""Fine-tuning: a whole copy of the backbone with a new classifier, all of it trained with cross entropy.

It is also the first stage of every method that learns from a teacher. Its settings are the section `teacher`.
"""

from __future__ import annotations

from blocks import compact
from nettailor.methods._protocol import Context, Plain, Sections, Trained
from nettailor.training.stages import finetune


class Finetune(Plain):
    """The whole backbone fine-tuned."""

    name = "finetune"
    summary = "the whole backbone fine-tuned"

    def stages(self, recipe: Sections) -> dict[str, int]:
        """One."""
        return {"teacher": recipe.teacher.epochs}

    def train(self, context: Context) -> Trained:
        """One stage, `teacher`."""
        config = context.recipe.teacher
        with context.run.timed("teacher"):
            net = finetune(context.backbone, context.task, config, context.run)
        epochs: dict[str, float] = {"teacher": context.run.passes("teacher")}
        return Trained(compact(net, context.backbone), epochs=epochs, keep=("teacher", "teacher-rate"))


METHOD = Finetune()
