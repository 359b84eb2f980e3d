"""A student that begins where its teacher ended: all that its plan can hold of another network.

    teacher - backbone, kernel by kernel -> the nearest addition of the student's rank (truncated SVD)
    teacher's norms and classifier       -> the student's own
    answers of a teacher whose head is another -> the student's classifier, by least squares on what it reads

A student's blocks are the backbone's, so what fine-tuning did to a dense kernel reaches it as the addition of rank r that
is nearest in least squares (Eckart & Young, 1936); what it did to kernels that have no addition is left behind. Proxies and
gates have no counterpart in a teacher and stay as they are.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, fx, nn

from blocks.adapters import Adapted, LowRank
from blocks.counting import tensors_of
from blocks.precision import float64
from blocks.student import TailoredNet
from blocks.teachers import Teacher, chain_of, has_plain_head

UNMOVED = 1e-6
"""Of the largest singular value of a kernel's change: below it there is no change to take over."""
RIDGE = 1e-2
"""Of the mean variance of what a classifier reads."""


@torch.no_grad()
def inherit(student: TailoredNet, teacher: Teacher) -> bool:
    """Give a student what its plan can hold of its teacher, in place.

    Of a teacher that is no chain of the backbone's blocks (one is left out, gated, or has other channels) that is nothing.

    Args:
        student: of the backbone that the teacher came from, with the same classes.

    Returns:
        Whether the student's classifier is the teacher's now: not where the teacher has a head of another kind.
    """
    theirs = chain_of(teacher)
    if theirs is None:
        return False
    ours = [student.stem, *(student.blocks[str(layer)] for layer in range(1, student.depth + 1))]
    for own, old in zip(ours, theirs, strict=True):
        _take_over(student, own, old)  # type: ignore[arg-type]
    if not has_plain_head(teacher):
        return False
    _take_over(student, student.head, teacher.head)
    return True


def is_frozen_backbone(student: TailoredNet, teacher: Teacher) -> bool:
    """Whether a teacher is the student's backbone as it came, but for its head: a linear probe, for one."""
    theirs, backbone = chain_of(teacher), student.backbone
    if theirs is None:
        return False
    pairs = [(tensors_of(a), tensors_of(b)) for a, b in zip(theirs, [backbone.stem, *backbone.blocks], strict=True)]
    return all(a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a) for a, b in pairs)


def _take_over(student: TailoredNet, ours: fx.GraphModule, theirs: fx.GraphModule) -> None:
    """Give one segment what it can hold of the same segment of a teacher."""
    shared = {id(tensor) for tensor in student.backbone.tensors().values()}
    for path in sorted({str(node.target) for node in ours.graph.nodes if node.op == "call_module"}):
        own, old = ours.get_submodule(path), theirs.get_submodule(path)
        if isinstance(own, LowRank):
            _nearest(own, old)
            continue
        taught = tensors_of(old)
        for name, tensor in tensors_of(own).items():
            if id(tensor) not in shared:
                tensor.copy_(taught[name])


def _nearest(own: LowRank, taught: nn.Module) -> None:
    """The addition whose kernel is nearest to a teacher's; both factors get the same share of its size.

    Where a teacher's kernel is the backbone's, or moved in fewer directions, a factor stays as it began: both at zero would
    have no gradient.
    """
    kernel = taught.weight() if isinstance(taught, Adapted) else taught.weight
    change: Tensor = (kernel - own.convolution.weight).flatten(1)  # type: ignore[operator]
    rank = own.up.shape[1]
    left, sizes, right = torch.linalg.svd(float64(change), full_matrices=False)
    root, moved = sizes[:rank].sqrt(), sizes[:rank] > UNMOVED * sizes[0]
    own.up.copy_(torch.where(moved, left[:, :rank] * root, torch.zeros_like(left[:, :rank])))
    own.down.copy_(torch.where(moved.unsqueeze(1), root.unsqueeze(1) * right[:rank], float64(own.down)))


@torch.no_grad()
def fit_classifier(student: TailoredNet, teacher: Teacher, batches: Iterable[Tensor]) -> bool:
    """Set a student's classifier to what comes nearest to its teacher's logits: ridge regression on what it reads now.

    Args:
        batches: pictures (B, 3, H, W).

    Returns:
        Whether it was set: not where the classifier is no single linear layer on one vector a picture.
    """
    paths = student.backbone.classifier_paths
    classifier = student.head.get_submodule(paths[0])
    if len(paths) != 1 or classifier.bias is None:
        return False
    was_training, seen = student.training, []
    student.eval()
    handle = classifier.register_forward_pre_hook(lambda _, given: seen.append(given[0].flatten(1)))
    try:
        wanted = torch.cat([_answers(student, teacher, x) for x in batches])
    finally:
        handle.remove()
        student.train(was_training)
    if any(read.shape[1] != student.backbone.features for read in seen):
        return False
    read, wanted = (float64(rows) for rows in (torch.cat(seen), wanted))
    mean, middle = read.mean(0), wanted.mean(0)
    gram = (read - mean).T @ (read - mean) / len(read)
    product = (read - mean).T @ (wanted - middle) / len(read)
    ridge = RIDGE * gram.diagonal().mean() + torch.finfo(gram.dtype).tiny
    weight = torch.linalg.solve(gram + ridge * torch.eye(len(gram), dtype=gram.dtype, device=gram.device), product).T
    classifier.weight.copy_(weight.view_as(classifier.weight))  # type: ignore[arg-type, operator]
    classifier.bias.copy_(middle - weight @ mean)  # type: ignore[operator]
    return True


def _answers(student: TailoredNet, teacher: Teacher, x: Tensor) -> Tensor:
    """The teacher's logits; what the student's classifier reads is seen by its hook."""
    student(x)
    logits: Tensor = teacher(x)
    return logits
