"""New units beside the top two layers (Wang et al., "Growing a Brain", CVPR 2017; `blocks.grown`).

logits C [N(h); N(h+)], h+ = pool(U([x_(L-1); u])), u = U'(x_(L-2)) of half as many units
"""

from __future__ import annotations

from nettailor.methods._grown import Grows


class GrowTwice(Grows):
    """The backbone, grown."""

    name = "grow_twice"
    summary = "new units beside the top two layers, trained with it"
    kind = "twice"


METHOD = GrowTwice()
