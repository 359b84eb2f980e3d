"""The paper's student, pruned and recovered as ours: what does the pruning bring by itself? A control.

Up to the trained student it is `paper`; from there on all is by the sections `training`, `prune` and `recover`, as for ours.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nettailor.methods.paper import STUDENT, PaperStudent


class PaperPrunedAsNettailor(PaperStudent):
    """The paper's student by our pruning."""

    name = "paper_pruned_as_nettailor"
    summary = "the paper's student, pruned and recovered as ours"
    defaults: Mapping[str, Any] = {"student": STUDENT}


METHOD = PaperPrunedAsNettailor()
