"""Our student, pruned by the paper's rule: what does the student bring by itself? A control.

The student is ours, trained as ours; then proxies under 0.05 and the n weakest universal blocks go at once, for each n, and
each net is retrained for as long as in the paper, with our optimiser and rates. Nothing is recovered after that.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nettailor.methods.nettailor import NetTailor
from nettailor.methods.paper import PRUNE


class NettailorPrunedAsPaper(NetTailor):
    """Our student by the paper's pruning."""

    name = "nettailor_pruned_as_paper"
    summary = "our student, pruned as in the paper: all removals at once, for several amounts"
    defaults: Mapping[str, Any] = {"prune": PRUNE, "recover": {"epochs": 0}}
    variants: Mapping[str, Mapping[str, Any]] = {}


METHOD = NettailorPrunedAsPaper()
