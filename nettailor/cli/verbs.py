"""Every verb: its options, and what it does."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from nettailor.cli.adapt import AdaptOptions, adapt
from nettailor.cli.compare import CompareOptions, compare
from nettailor.cli.evaluate import EvalOptions, evaluate
from nettailor.cli.export import ExportOptions, export
from nettailor.cli.model import BlocksOptions, ProfileOptions, blocks, profile
from nettailor.cli.predict import PredictOptions, predict
from nettailor.cli.prune import PruneOptions, prune
from nettailor.cli.push import PushOptions, push
from nettailor.cli.recipes import RecipesOptions, recipes
from nettailor.cli.show import ShowOptions, show
from nettailor.cli.study import StudyOptions, study
from nettailor.cli.suite import SuiteOptions, suite

VERBS: dict[str, tuple[type, Callable[[Any], int]]] = {
    "adapt": (AdaptOptions, adapt),
    "prune": (PruneOptions, prune),
    "compare": (CompareOptions, compare),
    "study": (StudyOptions, study),
    "eval": (EvalOptions, evaluate),
    "predict": (PredictOptions, predict),
    "export": (ExportOptions, export),
    "push": (PushOptions, push),
    "show": (ShowOptions, show),
    "suite": (SuiteOptions, suite),
    "blocks": (BlocksOptions, blocks),
    "profile": (ProfileOptions, profile),
    "recipes": (RecipesOptions, recipes),
}
