"""A student that begins as its teacher."""

from __future__ import annotations

import copy

import pytest
import torch

from blocks import Backbone, Plan, TailoredNet
from blocks.adapters import LowRank
from blocks.inherit import inherit


def moved(backbone: Backbone, rank: int) -> Backbone:
    """A teacher whose dense kernels differ from the backbone's by a change of this rank, its norms and classifier by more."""
    torch.manual_seed(1)
    teacher = backbone.teacher(5).eval()
    with torch.no_grad():
        for module in teacher.modules():
            if isinstance(module, torch.nn.Conv2d) and module.groups == 1:
                flat = module.weight.flatten(1)
                change = torch.randn(len(flat), rank) @ torch.randn(rank, flat.shape[1])
                module.weight += 0.02 * change.view_as(module.weight)
            elif isinstance(module, torch.nn.BatchNorm2d):
                module.weight += 0.1 * torch.randn_like(module.weight)
                module.running_mean += 0.1 * torch.randn_like(module.running_mean)
    return teacher


def test_a_change_of_the_students_rank_is_taken_over_whole(backbone: Backbone) -> None:
    teacher = moved(backbone, rank=2)
    student = TailoredNet(backbone, 5, Plan(1, batch_norm="affine", rank=2))
    inherit(student, teacher)
    seen = 0
    for block, taught in zip(student.blocks.values(), teacher.blocks, strict=True):
        for path, module in block.named_modules():
            if isinstance(module, LowRank):
                want = taught.get_submodule(path).weight
                torch.testing.assert_close(module.weight(), want, rtol=1e-4, atol=1e-5)
                seen += 1
    assert seen >= backbone.depth


def test_of_a_larger_change_the_nearest_part_is_taken(backbone: Backbone) -> None:
    teacher = moved(backbone, rank=6)
    left = []
    for rank in (1, 2, 3):
        student = TailoredNet(backbone, 5, Plan(0, batch_norm="affine", rank=rank))
        inherit(student, teacher)
        error = 0.0
        for block, taught in zip(student.blocks.values(), teacher.blocks, strict=True):
            for path, module in block.named_modules():
                if isinstance(module, LowRank) and rank * sum(module.convolution.weight.flatten(1).shape) < 200:
                    change = taught.get_submodule(path).weight - module.convolution.weight
                    sizes = torch.linalg.svdvals(change.flatten(1))
                    missing = (taught.get_submodule(path).weight - module.weight()).detach().norm()
                    assert float(missing) == pytest.approx(float(sizes[rank:].norm()), rel=1e-3)
                    error += float(missing)
        left.append(error)
    assert left == sorted(left, reverse=True)


def test_norms_and_classifier_are_the_teachers_and_the_backbone_stays(backbone: Backbone) -> None:
    teacher = moved(backbone, rank=1)
    before = copy.deepcopy(backbone.tensors())
    student = TailoredNet(backbone, 5, Plan(1, batch_norm="affine", rank=0))
    inherit(student, teacher)
    assert all(torch.equal(before[name], tensor) for name, tensor in backbone.tensors().items())
    theirs = teacher.state_dict()
    norms = [(name, tensor) for name, tensor in student.task_tensors().items() if "running_mean" in name]
    found = [name for name, tensor in norms if any(torch.equal(tensor, other) for other in theirs.values())]
    assert len(found) >= backbone.depth
    (path,) = backbone.classifier_paths
    assert torch.equal(student.head.get_submodule(path).weight, teacher.head.get_submodule(path).weight)
