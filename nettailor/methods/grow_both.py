"""New units beside the top layer and a new layer on top (Wang et al., "Growing a Brain", CVPR 2017; `blocks.grown`).

logits C N(a), a = ReLU(W [N(h); N(h+)] + b), as many units in a as in h+
"""

from __future__ import annotations

from nettailor.methods._grown import Grows


class GrowBoth(Grows):
    """The backbone, grown."""

    name = "grow_both"
    summary = "new units beside the top layer and a new layer on top, trained with it"
    kind = "both"


METHOD = GrowBoth()
