"""What may stand as a student's teacher: a network of the task's classes over the backbone that the student has.

    Backbone.teacher, trained       every activation x_0..x_L, and a head like the backbone's: its student can begin as it
    CompactNet of every block       the same; or a top in the place of the head, which the student has no room for
    any other CompactNet            answers alone: a layer is left out, or has other channels

Both kinds answer `activations`, `frozen_copy`, `for_inference`, and say how many `classes` and which `shapes` they have.
"""

from __future__ import annotations

from torch import fx

from blocks.backbone import Backbone
from blocks.compact import CompactNet

Teacher = Backbone | CompactNet


def gives_activations(teacher: Teacher) -> bool:
    """Whether it has all of x_0..x_L in the backbone's shapes, for a student to match."""
    return isinstance(teacher, Backbone) or teacher.gives_activations


def chain_of(teacher: Teacher) -> list[fx.GraphModule] | None:
    """Stem and blocks 1..L of a teacher that is a chain of them; None where something stands beside or in place of one."""
    if isinstance(teacher, Backbone):
        return [teacher.stem, *teacher.blocks]  # type: ignore[list-item]
    is_chain = all(path.is_universal and teacher.gate_of(path) == 1 for path in teacher.paths)
    if not (is_chain and teacher.gives_activations):
        return None
    return [teacher.stem, *(teacher.blocks[str(layer)] for layer in range(1, teacher.depth + 1))]  # type: ignore[list-item]


def has_plain_head(teacher: Teacher) -> bool:
    """Whether its logits come as a student's do: from x_L through the backbone's own head with a new classifier."""
    return isinstance(teacher, Backbone) or (teacher.plan.head == "backbone" and teacher.plan.top is None)
