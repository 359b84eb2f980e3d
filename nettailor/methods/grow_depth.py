"""A new layer on top of the backbone's representation (Wang et al., "Growing a Brain", CVPR 2017; `blocks.grown`).

logits C N(a), a = ReLU(W N(h) + b)
"""

from __future__ import annotations

from nettailor.methods._grown import Grows


class GrowDepth(Grows):
    """The backbone, grown."""

    name = "grow_depth"
    summary = "a new layer on top of the backbone's representation, trained with it"
    kind = "depth"


METHOD = GrowDepth()
