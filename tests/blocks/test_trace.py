"""Operations that write into what they read: the pieces compute the model's own values and overwrite nothing."""

from __future__ import annotations

import copy
import operator
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import Tensor, fx, nn
from torch.nn import functional as F

from blocks import Backbone, InputSpec, Plan, TailoredNet
from blocks.trace import TRACING, trace, trace_plain


class Block(nn.Module):
    """Does `how` to its input first, then convolves; some add the input, as it is by then, at the end."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.how = how
        self.convolution = nn.Conv2d(6, 6, 3, padding=1)
        self.act = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        x = HOW[self.how](self, x)
        out: Tensor = self.convolution(x)
        return out


def used_for_its_effect(block: Block, x: Tensor) -> Tensor:
    torch.relu_(x)
    return x


def overwritten_shortcut(block: Block, x: Tensor) -> Tensor:
    return block.act(x) + x


def assigned_sum(block: Block, x: Tensor) -> Tensor:
    x += 1.5
    x *= 0.5
    return x


HOW = {
    "torch.relu_": lambda block, x: torch.relu_(x),
    "F.relu_": lambda block, x: F.relu_(x),
    "F.relu by place": lambda block, x: F.relu(x, True),
    "F.hardtanh_": lambda block, x: F.hardtanh_(x),
    "F.hardtanh by place": lambda block, x: F.hardtanh(x, -0.5, 0.5, True),
    "F.elu_": lambda block, x: F.elu_(x),
    "F.leaky_relu by name": lambda block, x: F.leaky_relu(x, 0.2, inplace=True),
    "method": lambda block, x: x.clamp_(min=0.1),
    "module": lambda block, x: block.act(x),
    "operator.iadd": lambda block, x: operator.iadd(x, 1.0),
    "operator.imul": lambda block, x: operator.imul(x, -1.0),
    "used for its effect": used_for_its_effect,
    "overwritten shortcut": overwritten_shortcut,
    "assigned sum": assigned_sum,
}


class Net(nn.Module):
    def __init__(self, how: str) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 6, 3, padding=1)
        self.blocks = nn.ModuleList(Block(how) for _ in range(3))
        self.fc = nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for block in self.blocks:
            x = block(x)
        return self.fc(x.mean((2, 3)))


@pytest.mark.parametrize("how", HOW)
def test_what_writes_in_place_computes_the_models_values_and_overwrites_nothing(how: str) -> None:
    model = Net(how).eval()
    x = torch.randn(2, 3, 8, 8)
    with torch.no_grad():
        wanted = copy.deepcopy(model)(x)
        backbone = Backbone(model, InputSpec(8, (0.5,) * 3, (0.5,) * 3), "in place")
        assert backbone.depth >= 2
        assert torch.equal(backbone(x), wanted)
        assert torch.equal(backbone.frozen_copy()(x), wanted)
        for part in (*backbone.blocks, *backbone.acts, backbone.head):
            channels_first = torch.randn(2, 6, 8, 8)
            before = channels_first.clone()
            part(channels_first)
            assert torch.equal(channels_first, before)


@pytest.mark.parametrize("how", HOW)
def test_a_student_of_such_a_model_trains(how: str) -> None:
    """Autograd refuses a backward pass where a tensor that a proxy read was overwritten."""
    backbone = Backbone(Net(how), InputSpec(8, (0.5,) * 3, (0.5,) * 3), "in place")
    student = TailoredNet(backbone, 4, Plan(skips=2, proxies="conv1x1", rank=1)).train()
    student(torch.randn(2, 3, 8, 8)).sum().backward()
    assert all(parameter.grad is not None for parameter in student.proxies.parameters())


class Watched(nn.Module):
    """Notes for every run under tracing whether another thread could have begun a run of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.free: list[bool] = []

    def forward(self, x: Tensor) -> Tensor:
        if isinstance(x, fx.Proxy):
            with ThreadPoolExecutor(1) as pool:
                self.free.append(pool.submit(TRACING.acquire, blocking=False).result())
        return x * 2


def test_a_thread_that_holds_the_lock_never_runs_beside_a_trace() -> None:
    watched = Watched()
    trace(watched, torch.zeros(1, 3, 4, 4))
    trace_plain(watched)
    assert watched.free == [False, False]
