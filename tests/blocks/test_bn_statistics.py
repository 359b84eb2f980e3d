"""Statistics estimated anew are the task's own."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from blocks.bn_statistics import adopt_statistics, by_running_statistics, recalibrate_norms, statistics_kept
from tests.blocks.test_warm_start import fresh, pictures


def test_statistics_are_means_over_the_batches_and_only_the_tasks_own() -> None:
    student = fresh(batch_norm="affine")
    norm = student._own_norms[0]
    seen = []
    handle = norm.register_forward_hook(lambda module, inputs, out: seen.append(inputs[0].detach()))
    recalibrate_norms(student, pictures().split(16))
    handle.remove()
    wanted = torch.stack([batch.mean((0, 2, 3)) for batch in seen]).mean(0)
    assert torch.allclose(norm.running_mean, wanted, atol=1e-5)  # type: ignore[arg-type]
    assert norm.momentum == 0.1
    frozen = fresh(batch_norm="source")
    before = {name: tensor.clone() for name, tensor in frozen.backbone.tensors().items()}
    recalibrate_norms(frozen, pictures().split(16))
    assert all(torch.equal(tensor, before[name]) for name, tensor in frozen.backbone.tensors().items())


def test_adopted_statistics_change_nothing_that_the_net_computes() -> None:
    student = fresh(batch_norm="affine")
    student.keep(path for path in student.paths if path.is_universal)
    norm, x = student._own_norms[0], pictures() * 3 + 1
    student.eval()
    seen: list[torch.Tensor] = []
    with torch.no_grad():
        before, off = student(x), copy.deepcopy(student).train()(x)
        handle = norm.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0].clone()))
        student.eval()
        adopt_statistics(student, x.split(7))
        handle.remove()
        assert not student.training
        assert torch.allclose(student(x), before, rtol=1e-4, atol=1e-4)
        near = student.train()(x)
    read = torch.cat(seen)
    assert torch.allclose(norm.running_mean, read.mean((0, 2, 3)), atol=1e-5)  # type: ignore[arg-type]
    assert torch.allclose(norm.running_var, read.var((0, 2, 3), unbiased=False), rtol=1e-3, atol=1e-6)  # type: ignore[arg-type]
    assert float((near - before).abs().max()) < 0.02 * float((off - before).abs().max()), (
        "as a batch of them is normalised"
    )


def test_only_norms_whose_scale_and_shift_are_trained_adopt() -> None:
    for policy in ("source", "stats"):
        frozen = fresh(batch_norm=policy)
        before = {name: tensor.clone() for name, tensor in frozen.state_dict().items()}
        frozen.keep(path for path in frozen.paths if path.is_universal)
        adopt_statistics(frozen, pictures().split(16))
        after, statistics = frozen.state_dict(), [name for name in before if "running" in name]
        assert statistics
        assert all(torch.equal(after[name], before[name]) for name in statistics)


def test_other_pictures_are_normalised_by_themselves_and_leave_no_trace() -> None:
    torch.manual_seed(0)
    norm = nn.BatchNorm2d(3)
    net = nn.Sequential(nn.Conv2d(3, 3, 1), norm, nn.BatchNorm2d(3).eval()).train()
    net[2].eval()
    net(torch.randn(8, 3, 4, 4))
    before, x = copy.deepcopy(net.state_dict()), torch.randn(8, 3, 4, 4) * 5 + 3
    with statistics_kept(net):
        kept = net(x)
    assert all(torch.equal(tensor, before[name]) for name, tensor in net.state_dict().items())
    assert torch.equal(kept, net(x)), "normalised as ever"
    assert not torch.equal(norm.running_mean, before["1.running_mean"]), "and the pictures after them move them again"  # type: ignore[arg-type]
    with pytest.raises(RuntimeError), statistics_kept(net):
        raise RuntimeError
    assert norm.track_running_stats


def test_or_by_the_running_statistics_of_those_before() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.BatchNorm2d(3), nn.Dropout(0.5)).train()
    net(torch.randn(8, 3, 4, 4))
    before, x = copy.deepcopy(net.state_dict()), torch.randn(8, 3, 4, 4) * 5 + 3
    with by_running_statistics(net):
        assert net[1].training, "what is no norm trains on"
        found = net[0](x)
    assert all(torch.equal(tensor, before[name]) for name, tensor in net.state_dict().items())
    assert net[0].training
    assert torch.equal(found, net[0].eval()(x))
