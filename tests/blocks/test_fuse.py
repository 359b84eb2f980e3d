"""Passes over a graph that does not train: what is folded, what may not be, and what may be overwritten."""

from __future__ import annotations

import torch
from timm.layers import BatchNormAct2d
from torch import Tensor, fx, nn

from blocks.fuse import activate_in_place, called, frozen_copy
from tests import tiny


def segment(forward: object, **parts: nn.Module) -> fx.GraphModule:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            for name, part in parts.items():
                setattr(self, name, part)

        def forward(self, x: Tensor) -> Tensor:
            return forward(self, x)  # type: ignore[operator]

    class Tracer(fx.Tracer):
        def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
            return True

    net = tiny.live_in(Net(), 8)
    return fx.GraphModule(net, Tracer().trace(net))


def same(one: nn.Module, other: nn.Module) -> bool:
    x = torch.randn(2, 3, 8, 8)
    with torch.no_grad():
        return torch.allclose(one(x.clone()), other(x.clone()), atol=1e-4)


def kinds(net: nn.Module) -> list[str]:
    return [type(module).__name__ for module in net.children()]


def test_a_norm_behind_its_convolution_goes_into_it_and_the_segment_stays() -> None:
    net = segment(lambda self, x: self.norm(self.conv(x)), conv=nn.Conv2d(3, 4, 3, bias=False), norm=nn.BatchNorm2d(4))
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    folded = frozen_copy(net.train())
    assert kinds(folded) == ["Conv2d"]
    assert same(folded, net.eval())
    assert all(torch.equal(tensor, before[name]) for name, tensor in net.state_dict().items())
    assert not any(parameter.requires_grad for parameter in folded.parameters())


def test_the_activation_of_a_norm_that_has_one_stays() -> None:
    net = segment(lambda self, x: self.norm(self.conv(x)), conv=nn.Conv2d(3, 4, 3), norm=BatchNormAct2d(4))
    folded = frozen_copy(net)
    assert kinds(folded) == ["Conv2d", "ReLU"]
    assert same(folded, net)


def test_a_convolution_that_is_called_twice_keeps_its_norm() -> None:
    def forward(self: nn.Module, x: Tensor) -> Tensor:
        return self.norm(self.conv(x)) + self.conv(x + 1)  # type: ignore[operator]

    net = segment(forward, conv=nn.Conv2d(3, 4, 3), norm=nn.BatchNorm2d(4))
    folded = frozen_copy(net)
    assert sorted(kinds(folded)) == ["BatchNorm2d", "Conv2d"]
    assert same(folded, net)


def test_only_a_fresh_tensor_that_nobody_else_reads_is_overwritten() -> None:
    def forward(self: nn.Module, x: Tensor) -> Tensor:
        shared = self.conv(x)
        callers = self.of_input(x)
        kept = self.of_shared(shared) + shared
        return callers + kept + self.of_fresh(self.conv(x)) + self.of_sum(self.conv(x) + x)  # type: ignore[operator]

    names = ("of_input", "of_shared", "of_fresh", "of_sum")
    net = segment(forward, conv=nn.Conv2d(3, 3, 1), **{name: nn.ReLU() for name in names})
    wanted = frozen_copy(net)
    activate_in_place(net)
    assert {name: net.get_submodule(name).inplace for name in names} == {
        "of_input": False,
        "of_shared": False,
        "of_fresh": True,
        "of_sum": True,
    }
    assert same(net, wanted)
    assert called(net, next(node for node in net.graph.nodes if node.op == "call_module")) is net.conv
    assert called(net, next(iter(net.graph.nodes))) is None
