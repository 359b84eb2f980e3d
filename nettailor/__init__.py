"""nettailor: one frozen backbone, many tailored networks.

    recipe -> Task -> Backbone -> teacher -> TailoredNet -> train -> BlockGraph -> prune -> compact -> delta on disk

The names below are the Python API; each is imported when it is first used, so that `import nettailor` is quick.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from blocks import Backbone, CompactNet, TailoredNet, compact, fold, pack
    from nettailor.artifacts.delta import Delta, load, save
    from nettailor.artifacts.report import Report
    from nettailor.backbones.load import load_backbone
    from nettailor.data.task import Task, load_task
    from nettailor.errors import NettailorError
    from nettailor.jobs.adapt import adapt
    from nettailor.jobs.compare import compare
    from nettailor.jobs.many import adapt_all
    from nettailor.jobs.recipe import Recipe
    from nettailor.jobs.study import study
    from nettailor.pruning.graph import BlockGraph
    from nettailor.pruning.prune import prune
    from nettailor.suite.suite import Suite
    from nettailor.training.finetuning import finetune
    from nettailor.training.loop import accuracy
    from nettailor.training.run import Run
    from nettailor.training.stages import recover, tailor, train

_WHERE = {
    "Backbone": "blocks",
    "BlockGraph": "nettailor.pruning.graph",
    "CompactNet": "blocks",
    "Delta": "nettailor.artifacts.delta",
    "NettailorError": "nettailor.errors",
    "Recipe": "nettailor.jobs.recipe",
    "Report": "nettailor.artifacts.report",
    "Run": "nettailor.training.run",
    "Suite": "nettailor.suite.suite",
    "TailoredNet": "blocks",
    "Task": "nettailor.data.task",
    "accuracy": "nettailor.training.loop",
    "adapt": "nettailor.jobs.adapt",
    "adapt_all": "nettailor.jobs.many",
    "compact": "blocks",
    "compare": "nettailor.jobs.compare",
    "finetune": "nettailor.training.finetuning",
    "fold": "blocks",
    "load": "nettailor.artifacts.delta",
    "load_backbone": "nettailor.backbones.load",
    "load_task": "nettailor.data.task",
    "pack": "blocks",
    "prune": "nettailor.pruning.prune",
    "recover": "nettailor.training.stages",
    "save": "nettailor.artifacts.delta",
    "study": "nettailor.jobs.study",
    "tailor": "nettailor.training.stages",
    "train": "nettailor.training.stages",
}

__version__ = "0.2.0"
__all__ = [
    "Backbone",
    "BlockGraph",
    "CompactNet",
    "Delta",
    "NettailorError",
    "Recipe",
    "Report",
    "Run",
    "Suite",
    "TailoredNet",
    "Task",
    "accuracy",
    "adapt",
    "adapt_all",
    "compact",
    "compare",
    "finetune",
    "fold",
    "load",
    "load_backbone",
    "load_task",
    "pack",
    "prune",
    "recover",
    "save",
    "study",
    "tailor",
    "train",
]


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module 'nettailor' has no attribute {name!r}")
    value = getattr(importlib.import_module(_WHERE[name]), name)
    globals()[name] = value
    return value
