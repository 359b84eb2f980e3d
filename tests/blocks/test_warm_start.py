"""Warm start: proxies are the best linear stand-ins, whatever batches the pictures come in."""

from __future__ import annotations

import weakref
from collections.abc import Iterator

import pytest
import torch

from blocks import Plan, TailoredNet
from blocks.least_squares import RIDGE
from blocks.warm_start import warm_start
from tests import tiny


def fresh(**settings: object) -> TailoredNet:
    torch.manual_seed(0)
    return TailoredNet(tiny.tiny_backbone(32), 5, Plan(**({"skips": 2, "proxies": "conv1x1"} | settings)))  # type: ignore[arg-type]


def pictures(count: int = 48) -> torch.Tensor:
    return torch.rand(count, 3, 32, 32, generator=torch.Generator().manual_seed(1)) - 0.5


def test_a_warm_proxy_is_the_least_squares_solution() -> None:
    student, x = fresh(), pictures()
    explained = warm_start(student, lambda: x.split(16))
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
    explained = warm_start(student, lambda: [pictures()])
    assert set(explained) == {path.key for path in student.paths if not path.is_universal}
    assert all(0 < value <= 1 for value in explained.values())
    assert torch.equal(student.gates.fade, before)
    assert warm_start(fresh(proxies="bottleneck"), lambda: [pictures()]) == {}


def test_warm_weights_have_the_size_of_fresh_ones() -> None:
    cold, warm = fresh(), fresh()
    warm_start(warm, lambda: [pictures()])
    for one, other in zip(cold.proxies.values(), warm.proxies.values(), strict=True):
        mine, theirs = (proxy.transform[0].weight.flatten(1).norm(dim=1) for proxy in (one, other))
        assert torch.allclose(mine, theirs, rtol=1e-3)


@pytest.mark.parametrize("size", [48, 20, 7])
def test_batches_change_nothing_but_the_rounding(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """However the pictures come, the same positions are taken: every n-th of all, n above 1 here."""
    monkeypatch.setattr("blocks.least_squares.LARGEST_SAMPLE", 500)
    monkeypatch.setattr("blocks.warm_start.recalibrate_norms", lambda student, batches: list(batches))
    found = {}
    for batch in (48, size):
        student = fresh()
        explained = warm_start(student, lambda batch=batch: pictures().split(batch))  # type: ignore[misc]
        found[batch] = student.task_tensors(), explained
    for name, tensor in found[48][0].items():
        assert torch.allclose(tensor, found[size][0][name], atol=1e-5), name
    assert found[48][1] == pytest.approx(found[size][1], abs=1e-6)


@pytest.mark.parametrize("sample", [10**6, 500])
def test_sums_over_batches_give_the_regression_of_all_at_once(sample: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("blocks.least_squares.LARGEST_SAMPLE", sample)
    student = fresh(batch_norm="source").eval()
    x = pictures()
    explained = warm_start(student, lambda: x.split(9))
    with torch.no_grad():
        xs = student.backbone.activations(x)
        wanted = student.blocks["4"](xs[3])
        for source in (2, 3):
            proxy = student.proxies[f"{source}-4"]
            a, b = rows(proxy.resample(xs[source]), sample), rows(wanted, sample)
            centred, target = a - a.mean(0), b - b.mean(0)
            gram = centred.T @ centred / len(a)
            ridge = RIDGE * gram.diagonal().mean() * torch.eye(len(gram), dtype=torch.double)
            solved = torch.linalg.solve(gram + ridge, centred.T @ target / len(a))
            out = centred @ solved
            given = rows(proxy(xs[source]), sample)
            assert torch.allclose(given, out + b.mean(0), atol=1e-4)
            left = (target - out).square().sum() / target.square().sum()
            assert explained[f"A{source}-4"] == pytest.approx(1 - float(left), abs=1e-6)


def rows(x: torch.Tensor, sample: int) -> torch.Tensor:
    """Positions as rows (N, C), every n-th so that at most `sample` are left."""
    found = x.permute(0, 2, 3, 1).flatten(0, 2).double()
    return found[:: -(-len(found) // sample)]


def test_no_more_than_one_batch_is_held() -> None:
    student = fresh(batch_norm="affine")
    alive: list[weakref.ref[torch.Tensor]] = []
    for part in (student.stem, *student.acts):
        part.register_forward_hook(lambda module, inputs, out: alive.append(weakref.ref(out)))
    most = 0

    def batches() -> Iterator[torch.Tensor]:
        nonlocal most
        for x in pictures().split(8):
            yield x
            most = max(most, sum(one() is not None for one in alive))

    warm_start(student, batches)
    assert len(alive) == 2 * 6 * (student.depth + 1)  # both passes, six batches
    assert most <= student.depth + 1
