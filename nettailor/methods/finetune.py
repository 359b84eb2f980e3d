"""Fine-tuning: a copy of the backbone with a new classifier, trained with cross entropy, whole or from a layer up.

Trained whole it is also the first stage of every method that learns from a teacher. Its settings are the section `teacher`;
on a board it may stand more than once, trained for longer than the teacher that the others learn from.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any

from pydantic import Field
from pydantic.dataclasses import dataclass

from nettailor.methods._protocol import MethodSettings, Sections
from nettailor.methods._tuned import TunedBackbone, TuneSettings
from nettailor.schema import STRICT, Count
from nettailor.training.config import TeacherConfig
from nettailor.training.finetuning import STAGE


@dataclass(config=STRICT, frozen=True)
class Settings(TuneSettings):
    """How long, where it is not as long as a teacher."""

    passes: Annotated[Count | None, Field(description="after the search for its rate; left out: teacher.epochs")] = None


class Finetune(TunedBackbone):
    """The backbone fine-tuned."""

    name = "finetune"
    summary = "the backbone fine-tuned, whole or from a layer up"
    settings: type[MethodSettings] = Settings
    keep = (STAGE, f"{STAGE}-rate")
    variants: Mapping[str, Mapping[str, Any]] = {
        "40": {"passes": 40},
        "90": {"passes": 90},
        "new": {"tune_from": "new"},
    }

    def config(self, recipe: Sections) -> TeacherConfig:
        """With its own number of passes."""
        passes = recipe.method.passes if isinstance(recipe.method, Settings) else None
        return recipe.teacher if passes is None else replace(recipe.teacher, epochs=passes)


METHOD = Finetune()
