"""The procedure of the NetTailor paper (Morgado & Vasconcelos, CVPR 2019), as the thing to beat.

Student: softmax gates from +2 / -2, three skips, local matching, the paper's expected complexity (section 3.3). Pruning
(section 3.4): proxies under 0.05 and the n weakest universal blocks go at once, for each n; each is retrained with g1 = 0,
and the leanest within half a point of the teacher on the validation split is kept. Epochs, learning rates and AdamW are
ours: the paper's are for ImageNet backbones at 224 px. Local matching is what the authors' implementation does.
"""

from __future__ import annotations

from nettailor.methods.nettailor import NetTailor

DEFAULTS = {
    "student": {
        "proxies": "conv1x1",
        "start": "backbone",
        "epochs": 20,
        "batch_norm": "source",
        "rank": 0,
        "warm_start": 0,
        "complexity": "paper",
        "matching": "local",
        "matching_weight": 10.0,
        "distill_weight": 0.0,
    },
    "prune": {"how": "paper", "epochs": 10, "fade_epochs": 0},
    "recover": {"epochs": 0},
}


class Paper(NetTailor):
    """NetTailor as published."""

    name = "paper"
    summary = "NetTailor as published: all removals at once, for several amounts"
    defaults = DEFAULTS


METHOD = Paper()
