"""New units beside the backbone's top layer (Wang et al., "Growing a Brain", CVPR 2017; `blocks.grown`).

logits C [N(h); N(h+)], h+ = pool(U(x_(L-1)))
"""

from __future__ import annotations

from nettailor.methods._grown import Grows


class GrowWidth(Grows):
    """The backbone, grown."""

    name = "grow_width"
    summary = "new units beside the backbone's top layer, trained with it"
    kind = "width"


METHOD = GrowWidth()
