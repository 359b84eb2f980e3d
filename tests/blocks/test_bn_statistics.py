"""Statistics estimated anew are the task's own."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from blocks.bn_statistics import by_running_statistics, recalibrate_norms, statistics_kept
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
