"""Warm start: proxies are the best linear stand-ins, and statistics are the task's."""

from __future__ import annotations

import pytest
import torch

from blocks import Plan, TailoredNet
from blocks.bn_statistics import recalibrate_norms
from blocks.warm_start import warm_start
from tests import tiny


def fresh(**settings: object) -> TailoredNet:
    torch.manual_seed(0)
    return TailoredNet(tiny.tiny_backbone(32), 5, Plan(**({"skips": 2, "proxies": "conv1x1"} | settings)))  # type: ignore[arg-type]


def pictures(count: int = 48) -> torch.Tensor:
    return torch.rand(count, 3, 32, 32, generator=torch.Generator().manual_seed(1)) - 0.5


def test_a_warm_proxy_is_the_least_squares_solution() -> None:
    student, x = fresh(), pictures()
    explained = warm_start(student, x)
    with torch.no_grad():
        student.eval()
        x_2 = student.acts[1](student.blocks["2"](student.acts[0](student.blocks["1"](student.stem(x)))))
        wanted = student.blocks["3"](x_2)
        proxy = student.proxies["2-3"]
        found = proxy(x_2)
        rows = proxy.resample(x_2).permute(0, 2, 3, 1).flatten(0, 2).double()
        rows = torch.cat([rows, torch.ones(len(rows), 1)], 1)
        targets = wanted.permute(0, 2, 3, 1).flatten(0, 2).double()
        best = rows @ torch.linalg.lstsq(rows, targets).solution
    error = float((found.permute(0, 2, 3, 1).flatten(0, 2) - targets).square().mean())
    least = float((best - targets).square().mean())
    assert least <= error <= 1.02 * least  # the ridge costs a little
    spread = float((targets - targets.mean(0)).square().mean())
    assert explained["A2-3"] == pytest.approx(1 - error / spread, abs=0.01)


def test_every_proxy_with_a_closed_form_starts_warm_and_the_gates_do_not_move() -> None:
    student = fresh()
    before = student.gates.state_dict()["fade"].clone()
    explained = warm_start(student, pictures())
    assert set(explained) == {path.key for path in student.paths if not path.is_universal}
    assert all(0 < value <= 1 for value in explained.values())
    assert torch.equal(student.gates.fade, before)
    assert warm_start(fresh(proxies="bottleneck"), pictures()) == {}


def test_warm_weights_have_the_size_of_fresh_ones() -> None:
    cold, warm = fresh(), fresh()
    warm_start(warm, pictures())
    for one, other in zip(cold.proxies.values(), warm.proxies.values(), strict=True):
        mine, theirs = (proxy.transform[0].weight.flatten(1).norm(dim=1) for proxy in (one, other))
        assert torch.allclose(mine, theirs, rtol=1e-3)


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
