"""The procedure of the NetTailor paper as its text says it: matching end to end, all else as in `paper`.

The authors' code matches each layer by itself (local matching); the text's loss has one gradient through all of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nettailor.methods.paper import Paper


class PaperText(Paper):
    """NetTailor as its text says."""

    name = "paper_text"
    summary = "NetTailor as the paper's text says: activations matched end to end"
    defaults: Mapping[str, Any] = {
        **Paper.defaults,
        "student": {**Paper.defaults["student"], "matching": "end_to_end"},
    }


METHOD = PaperText()
