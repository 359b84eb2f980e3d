"""nettailor: one frozen backbone, many tailored networks.

    recipe -> Task -> Backbone -> teacher -> TailoredNet -> train -> BlockGraph -> prune -> compact -> delta on disk

The names below are the Python API; each is imported when it is first used, so that `import nettailor` is quick.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from blocks import Backbone, CompactNet, TailoredNet, compact, fold, pack
    from nettailor.adaptation import adapt, adapt_all
    from nettailor.backbones import load_backbone
    from nettailor.board import compare
    from nettailor.delta import Delta, load, save
    from nettailor.errors import NettailorError
    from nettailor.fit import Run, accuracy
    from nettailor.graph import BlockGraph
    from nettailor.pruning import prune
    from nettailor.recipe import Recipe
    from nettailor.report import Report
    from nettailor.task import Task, load_task
    from nettailor.training import finetune, recover, tailor, train

_WHERE = {
    "Backbone": "blocks",
    "BlockGraph": "nettailor.graph",
    "CompactNet": "blocks",
    "Delta": "nettailor.delta",
    "NettailorError": "nettailor.errors",
    "Recipe": "nettailor.recipe",
    "Report": "nettailor.report",
    "Run": "nettailor.fit",
    "TailoredNet": "blocks",
    "Task": "nettailor.task",
    "accuracy": "nettailor.fit",
    "adapt": "nettailor.adaptation",
    "adapt_all": "nettailor.adaptation",
    "compact": "blocks",
    "compare": "nettailor.board",
    "finetune": "nettailor.training",
    "fold": "blocks",
    "load": "nettailor.delta",
    "load_backbone": "nettailor.backbones",
    "load_task": "nettailor.task",
    "pack": "blocks",
    "prune": "nettailor.pruning",
    "recover": "nettailor.training",
    "save": "nettailor.delta",
    "tailor": "nettailor.training",
    "train": "nettailor.training",
}

__version__ = "0.1.0"
__all__ = [
    "Backbone",
    "BlockGraph",
    "CompactNet",
    "Delta",
    "NettailorError",
    "Recipe",
    "Report",
    "Run",
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
    "tailor",
    "train",
]


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module 'nettailor' has no attribute {name!r}")
    value = getattr(importlib.import_module(_WHERE[name]), name)
    globals()[name] = value
    return value
