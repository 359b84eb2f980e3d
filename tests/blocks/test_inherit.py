"""A student that begins as its teacher."""

from __future__ import annotations

import copy

import pytest
import torch

from blocks import Backbone, Plan, TailoredNet, compact
from blocks.adapters import LowRank
from blocks.inherit import fit_classifier, inherit
from tests import fabricated
from tests.blocks.test_teachers import _registered, with_top  # noqa: F401  (a fixture)


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


@pytest.mark.parametrize("rank", [1, 2])
def test_a_change_of_at_most_the_students_rank_is_taken_over_whole(backbone: Backbone, rank: int) -> None:
    teacher = moved(backbone, rank)
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
                    change = (taught.get_submodule(path).weight - module.convolution.weight).detach()
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


def test_kernels_that_the_teacher_left_alone_can_still_be_trained(backbone: Backbone) -> None:
    """Both factors at zero would have no gradient; the student computes what the teacher computes all the same."""
    teacher = backbone.teacher(5, backbone.depth).eval()
    student = TailoredNet(backbone, 5, Plan(0, batch_norm="affine", rank=2)).eval()
    assert inherit(student, teacher)
    additions = [module for module in student.modules() if isinstance(module, LowRank)]
    assert additions
    for module in additions:
        assert not module.up.any()
        assert module.down.norm(dim=1).min() > 0
    x = torch.randn(2, 3, 16, 16)
    torch.testing.assert_close(student(x), teacher(x), rtol=1e-4, atol=1e-4)


def test_of_a_teacher_with_another_head_stem_and_blocks_are_taken_over(backbone: Backbone) -> None:
    net = with_top(backbone)
    with torch.no_grad():
        for name, tensor in net.task_tensors().items():
            if name.startswith(("blocks", "stem")) and name.endswith("running_mean"):
                tensor += 0.5
    student = TailoredNet(backbone, 4, Plan(0, batch_norm="affine", rank=0)).eval()
    before = student.head.get_submodule(backbone.classifier_paths[0]).weight.clone()
    assert not inherit(student, compact(net))
    assert torch.equal(student.head.get_submodule(backbone.classifier_paths[0]).weight, before)
    x = torch.randn(2, 3, 16, 16)
    with torch.no_grad():
        for ours, theirs in zip(student.run(x).activations, net.eval().activations(x)[:-1], strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)


def test_of_a_teacher_that_is_no_chain_nothing_is_taken_over(backbone: Backbone) -> None:
    student = TailoredNet(backbone, 3, Plan(0, rank=2))
    before = {name: tensor.clone() for name, tensor in student.task_tensors().items()}
    assert not inherit(student, fabricated.pruned(backbone))
    assert all(torch.equal(tensor, before[name]) for name, tensor in student.task_tensors().items())


def test_a_classifier_is_fitted_to_the_answers_of_a_teacher_with_another_head(backbone: Backbone) -> None:
    teacher = compact(with_top(backbone))
    with torch.no_grad():
        teacher.head.new_classifier.weight[:, -backbone.shapes[-1][0] - 1 :] *= (
            3  # what the student has no room for is less
        )
    student = TailoredNet(backbone, 4, Plan(0, batch_norm="affine", rank=0)).train()
    inherit(student, teacher)
    batches = [torch.randn(32, 3, 16, 16) for _ in range(12)]
    assert fit_classifier(student, teacher, batches)
    assert student.training
    x = torch.randn(64, 3, 16, 16)
    with torch.no_grad():
        wanted, found = teacher(x), student.eval()(x)
    left = (wanted - found).square().mean() / wanted.var(0, correction=0).mean()
    assert left < 0.35, "most of the variance of pictures that it has not seen"
