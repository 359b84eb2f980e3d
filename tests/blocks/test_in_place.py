"""Operations that write into what they read: known in every spelling, and given their twin that does not."""

from __future__ import annotations

import operator
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, fx, nn
from torch.nn import functional

from blocks.in_place import make_out_of_place, redirect_reads

WRITES: dict[str, Callable[[Tensor], Tensor]] = {
    "method": lambda x: x.clamp_(0, 1),
    "function": lambda x: torch.relu_(x),
    "function of functional": lambda x: functional.leaky_relu_(x),
    "argument by name": lambda x: functional.relu(x, inplace=True),
    "argument by place": lambda x: functional.hardtanh(x, -1.0, 1.0, True),
}


def traced(forward: Callable[[Tensor], Tensor]) -> fx.GraphModule:
    class Net(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return forward(x) + x  # reads x after it was written into

    return fx.symbolic_trace(Net())


@pytest.mark.parametrize("how", WRITES)
def test_a_graph_out_of_place_gives_the_same_and_leaves_its_input(how: str) -> None:
    net = traced(WRITES[how])
    x = torch.randn(4, 4) * 2
    expected, overwritten = net(given := x.clone()), not torch.equal(given, x)
    assert overwritten, "the test is of something that writes"
    redirect_reads(net.graph, net)
    for node in net.graph.nodes:
        make_out_of_place(node, net)
    net.recompile()
    given = x.clone()
    assert torch.equal(net(given), expected)
    assert torch.equal(given, x)


def test_a_module_and_its_children_write_no_more() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.act = nn.ReLU(inplace=True)

        def forward(self, x: Tensor) -> Tensor:
            return self.act(x) + x

    net = fx.symbolic_trace(Net())
    redirect_reads(net.graph, net)
    for node in net.graph.nodes:
        make_out_of_place(node, net)
    net.recompile()
    x = torch.tensor([-1.0, 2.0])
    assert net(x).tolist() == [0.0, 4.0]
    assert x.tolist() == [-1.0, 2.0]
    assert not net.act.inplace


def test_what_does_not_write_is_left_as_it_is() -> None:
    net = traced(lambda x: functional.relu(x, inplace=False).clamp(0, 1) * torch.relu(x))
    before = [(node.op, node.target, node.args, node.kwargs) for node in net.graph.nodes]
    redirect_reads(net.graph, net)
    for node in net.graph.nodes:
        make_out_of_place(node, net)
    assert [(node.op, node.target, node.args, node.kwargs) for node in net.graph.nodes] == before


def test_an_operator_that_writes_is_redirected_and_replaced() -> None:
    """fx itself records `x *= 2` as a product; a tracer that keeps it, or a graph by hand, has the operator."""
    graph = fx.Graph()
    x = graph.placeholder("x")
    doubled = graph.call_function(operator.imul, (x, 2.0))
    total = graph.call_function(operator.add, (doubled, x))
    graph.output(total)
    redirect_reads(graph, nn.Module())
    assert total.args == (doubled, doubled), "whoever comes after reads what was written"
    make_out_of_place(doubled, nn.Module())
    assert doubled.target is operator.mul
    given = torch.ones(2)
    assert fx.GraphModule(nn.Module(), graph)(given).tolist() == [4.0, 4.0]
    assert given.tolist() == [1.0, 1.0]
