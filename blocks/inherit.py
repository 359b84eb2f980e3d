"""A student that begins where its teacher ended: all that its plan can hold of a fine-tuned network.

    teacher - backbone, kernel by kernel -> the nearest addition of the student's rank (truncated SVD)
    teacher's norms and classifier       -> the student's own

A student's blocks are the backbone's, so what fine-tuning did to a dense kernel reaches it as the addition of rank r that
is nearest in least squares (Eckart & Young, 1936); what it did to kernels that have no addition is left behind. Proxies and
gates have no counterpart in a teacher and stay as they are.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, fx, nn

from blocks.adapters import LowRank
from blocks.backbone import Backbone
from blocks.counting import tensors_of
from blocks.precision import float64
from blocks.student import TailoredNet


@torch.no_grad()
def inherit(student: TailoredNet, teacher: Backbone) -> None:
    """Give a student what its plan can hold of its teacher, in place.

    Args:
        student: of the backbone that the teacher is a fine-tuned copy of, with the same classes.
    """
    shared = {id(tensor) for tensor in student.backbone.tensors().values()}
    for ours, theirs in _segments(student, teacher):
        for path in sorted({str(node.target) for node in ours.graph.nodes if node.op == "call_module"}):
            own, old = ours.get_submodule(path), theirs.get_submodule(path)
            if isinstance(own, LowRank):
                _nearest(own, old)
                continue
            taught = tensors_of(old)
            for name, tensor in tensors_of(own).items():
                if id(tensor) not in shared:
                    tensor.copy_(taught[name])


def _segments(student: TailoredNet, teacher: Backbone) -> Iterator[tuple[fx.GraphModule, fx.GraphModule]]:
    yield student.stem, teacher.stem  # type: ignore[misc]
    for number, block in enumerate(teacher.blocks, 1):
        yield student.blocks[str(number)], block  # type: ignore[misc]
    yield student.head, teacher.head  # type: ignore[misc]


def _nearest(own: LowRank, taught: nn.Module) -> None:
    """The addition whose kernel is nearest to a teacher's; both factors get the same share of its size."""
    change: Tensor = (taught.weight - own.convolution.weight).flatten(1)  # type: ignore[operator]
    rank = own.up.shape[1]
    left, sizes, right = torch.linalg.svd(float64(change), full_matrices=False)
    root = sizes[:rank].sqrt()
    own.up.copy_(left[:, :rank] * root)
    own.down.copy_(root.unsqueeze(1) * right[:rank])
