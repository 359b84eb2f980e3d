"""Computing again in the backward pass: the same gradients, statistics once, and far less kept."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from blocks import Backbone, Plan, TailoredNet
from blocks.memory import worth_recomputing
from blocks.recompute import recomputed
from nettailor.training.config import StudentConfig
from nettailor.training.losses import backward

NEVER, ALWAYS = 2**60, -1


def one_step(backbone: Backbone, limit: int, matching: str, monkeypatch: pytest.MonkeyPatch, **plan: Any) -> Any:
    """Gradients, all tensors, and losses after a training step of a fresh student."""
    monkeypatch.setattr("blocks.memory.KEPT_BY_PROXIES", limit)
    torch.manual_seed(1)
    student = TailoredNet(backbone, 5, Plan(**({"batch_norm": "affine", "rank": 2} | plan))).train()
    x, labels = torch.randn(6, 3, 16, 16), torch.arange(6) % 5
    losses = backward(student, backbone.teacher(5), x, labels, StudentConfig(matching=matching))  # type: ignore[arg-type]
    gradients = {name: p.grad for name, p in student.named_parameters() if p.grad is not None}
    return gradients, dict(student.state_dict()), losses


@pytest.mark.parametrize("matching", ["local", "end_to_end"])
@pytest.mark.parametrize("form", ["conv1x1", "bottleneck", "identity"])
def test_losses_and_statistics_are_the_same_to_the_bit_and_gradients_up_to_the_order_of_their_sums(
    backbone: Backbone, matching: str, form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = one_step(backbone, NEVER, matching, monkeypatch, proxies=form)
    again = one_step(backbone, ALWAYS, matching, monkeypatch, proxies=form)
    for wanted, found in zip(kept, again, strict=True):
        assert wanted.keys() == found.keys()
    for name, tensor in (kept[1] | kept[2]).items():
        assert torch.equal(tensor, (again[1] | again[2])[name]), name
    for name, gradient in kept[0].items():
        assert torch.allclose(gradient, again[0][name], atol=1e-5 * float(gradient.abs().max()), rtol=1e-5), name
    assert any("running_mean" in name for name in kept[1])


def bytes_kept(student: TailoredNet, x: Tensor) -> int:
    """What a forward keeps for its gradients, parameters aside."""
    own = {tensor.data_ptr() for tensor in (*student.parameters(), *student.backbone.parameters())}
    seen: dict[int, Tensor] = {}

    def pack(tensor: Tensor) -> Tensor:
        if tensor.data_ptr() not in own:
            seen[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        student.run(x)
    return sum(tensor.untyped_storage().nbytes() for tensor in seen.values())


def test_proxies_keep_nothing_where_they_are_computed_again(
    backbone: Backbone, monkeypatch: pytest.MonkeyPatch
) -> None:
    student = TailoredNet(backbone, 5, Plan(batch_norm="affine", proxies="conv1x1")).train()
    x = torch.randn(32, 3, 16, 16)
    monkeypatch.setattr("blocks.memory.KEPT_BY_PROXIES", NEVER)
    all_of_it = bytes_kept(student, x)
    monkeypatch.setattr("blocks.memory.KEPT_BY_PROXIES", ALWAYS)
    targets = [backbone.shapes[path.target] for path in student.paths if not path.is_universal]
    outputs = sum(4 * len(x) * math.prod(shape) for shape in targets)
    assert all_of_it - bytes_kept(student, x) >= 2 * outputs  # of the convolution, and of the norm


def test_small_nets_keep_what_they_compute_and_large_ones_do_not() -> None:
    assert not worth_recomputing([(128, 16, 16)] * 48)
    assert worth_recomputing([(256, 56, 56)] * 9)


def test_statistics_move_once_however_often_it_is_differentiated() -> None:
    norm = nn.BatchNorm2d(3)
    x = torch.randn(4, 3, 5, 5, requires_grad=True)
    out = recomputed([norm], lambda x: norm(x).square(), x)
    after = {name: tensor.clone() for name, tensor in norm.named_buffers()}
    assert after["num_batches_tracked"] == 1
    held = dict(norm.named_buffers())
    first = torch.autograd.grad(out.sum(), x, retain_graph=True)[0]
    second = torch.autograd.grad(out.sum(), x)[0]
    assert torch.equal(first, second)
    for name, tensor in norm.named_buffers():
        assert tensor is held[name]
        assert torch.equal(tensor, after[name]), name


def test_a_module_that_reads_what_it_changes_is_computed_as_the_first_time() -> None:
    class Counting(nn.Module):
        calls: Tensor

        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("calls", torch.zeros(()))

        def forward(self, x: Tensor) -> Tensor:
            self.calls += 1
            return (x * self.calls.clone()).exp()

    module = Counting()
    x = torch.tensor([0.5], requires_grad=True)
    out = recomputed([module], lambda x: module(x), x)
    module(torch.zeros(1))  # another call before the backward pass
    (slope,) = torch.autograd.grad(out, x)
    assert torch.allclose(slope, out.detach())
    assert module.calls == 2
