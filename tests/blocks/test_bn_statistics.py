"""Statistics estimated anew are the task's own, and no batch is too small for them."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from blocks.bn_statistics import recalibrate_norms, without_single
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


@pytest.mark.parametrize(("count", "sizes"), [(9, [4, 5]), (8, [4, 4]), (10, [4, 4, 2]), (5, [5]), (1, [1]), (0, [])])
def test_a_last_batch_of_one_picture_is_joined_to_its_neighbour(count: int, sizes: list[int]) -> None:
    x = torch.arange(count).view(count, 1)
    batches = list(without_single(x.split(4) if count else []))
    assert [len(batch) for batch in batches] == sizes
    assert count == 0 or torch.equal(torch.cat(batches), x)


def test_statistics_at_1x1_resolution_survive_a_last_batch_of_one_picture() -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 4), nn.BatchNorm2d(4))
    x = torch.randn(9, 3, 4, 4)
    recalibrate_norms(net, x.split(4))
    with torch.no_grad():
        wanted = torch.stack([net[0](part).mean((0, 2, 3)) for part in (x[:4], x[4:])]).mean(0)
    assert torch.allclose(net[1].running_mean, wanted, atol=1e-6)  # type: ignore[arg-type]
