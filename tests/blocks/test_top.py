"""Tops: heads that read several activations, in a net that trains, in its compact net, folded, counted."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import pytest
import torch
from torch import Tensor, fx, nn

from blocks import Backbone, NetPlan, Path, compact
from blocks.counting import count_params
from blocks.paths import UNIVERSAL
from blocks.top import TOPS, TopError, new_layers, register
from blocks.whole import WholeNet


class Both(nn.Module):
    """Means of two activations, side by side, and the source classifier's answers beside them."""

    def __init__(self, backbone: Backbone, classes: int) -> None:
        super().__init__()
        self.fc = backbone.head.get_submodule("fc")
        self.new_classifier = nn.Linear(backbone.shapes[-1][0] + backbone.shapes[-2][0] + backbone.classes, classes)

    def forward(self, below: Tensor, last: Tensor) -> Tensor:
        means = below.mean((2, 3)), last.mean((2, 3))
        logits: Tensor = self.new_classifier(torch.cat([*means, self.fc(means[1])], 1))
        return logits


@dataclass(frozen=True)
class TwoLast:
    """For these tests."""

    kind: ClassVar[str] = "two_last"
    keeps_source_classifier: ClassVar[bool] = True
    most: int = 99

    def reads(self, backbone: Backbone) -> tuple[int, ...]:
        return backbone.depth - 1, backbone.depth

    def build(self, backbone: Backbone, classes: int) -> fx.GraphModule:
        if backbone.depth > self.most:
            raise TopError(f"{backbone.name} is too deep")
        return fx.symbolic_trace(Both(backbone, classes))


@pytest.fixture(autouse=True)
def _registered() -> Iterator[None]:
    register(TwoLast)
    yield
    del TOPS["two_last"]


def plan(backbone: Backbone, tuned_from: int) -> NetPlan:
    paths = tuple(Path(layer, 0, UNIVERSAL) for layer in range(1, backbone.depth + 1))
    return NetPlan(paths, 4, copied=True, gated=False, tuned_from=tuned_from, top=TwoLast())


@pytest.mark.parametrize("tuned_from", [0, 1, 5, 7, 8])
def test_what_is_below_the_first_tuned_layer_is_the_backbones_and_stays(backbone: Backbone, tuned_from: int) -> None:
    before = {name: tensor.clone() for name, tensor in backbone.state_dict().items()}
    net = WholeNet(backbone, plan(backbone, tuned_from)).train()
    owners = {name.split(".")[0] + name.split(".")[1] for name in net.task_tensors() if name.startswith("blocks")}
    assert owners == {f"blocks{layer}" for layer in range(max(tuned_from, 1), backbone.depth + 1)}
    assert any(name.startswith("stem") for name in net.task_tensors()) == (tuned_from == 0)
    assert any(name.startswith("head.fc") for name in net.task_tensors()) == (tuned_from <= backbone.depth + 1)
    trained = {name for name, parameter in net.named_parameters() if parameter.requires_grad}
    assert trained == {name for name in net.task_tensors() if not name.endswith(("running_mean", "running_var"))}
    optimizer = torch.optim.SGD([p for p in net.parameters() if p.requires_grad], 0.1)
    net(torch.randn(8, 3, 16, 16)).square().sum().backward()
    optimizer.step()
    for name, tensor in backbone.state_dict().items():
        assert torch.equal(tensor, before[name]), name
    x = torch.randn(2, 3, 16, 16)
    answers = compact(net)
    with torch.no_grad():
        assert torch.equal(answers(x), net.eval()(x))
        assert torch.allclose(answers.for_inference()(x), answers(x), atol=1e-5)
        assert torch.equal(net.activations(x)[-1], net(x))
        assert torch.equal(net.activations(x)[backbone.depth - 1], answers.advance({0: answers.stem(x)}, 0, 5)[5])


def test_it_is_counted_with_all_that_it_reads(backbone: Backbone) -> None:
    net = compact(WholeNet(backbone, plan(backbone, backbone.depth + 2)))
    width = backbone.shapes[-1][0] + backbone.shapes[-2][0] + backbone.classes
    fc = backbone.head.get_submodule("fc")
    assert count_params(net.task_tensors().values()) == 4 * width + 4, "the kept source classifier is the backbone's"
    assert net.cost().params == backbone.cost.params + 4 * width + 4 + fc.weight.numel() + fc.bias.numel()
    assert net.cost().macs == backbone.cost.macs + 4 * width + fc.weight.numel()
    assert net.reads(3) == (3,)
    assert net.reads(5) == (5,)
    assert net.reads(6) == (5, 6)
    assert list(new_layers(net.head, backbone, TwoLast())) == ["new_classifier"]


def test_known_activations_lead_to_the_same_bits(backbone: Backbone) -> None:
    net, x = compact(WholeNet(backbone, plan(backbone, 3))), torch.randn(2, 3, 16, 16)
    with torch.no_grad():
        for layer in (0, 4, 5, 6):
            xs = net.advance({0: net.stem(x)}, 0, layer)
            known = {number: xs[number] for number in net.reads(layer)}
            assert torch.equal(net.forward_from(known, layer), net(x))


def test_its_new_parameters_are_all_that_it_adds(backbone: Backbone) -> None:
    net = WholeNet(backbone, plan(backbone, 0))
    assert {id(p) for p in net.new_parameters()} == {id(p) for p in net.head.new_classifier.parameters()}  # type: ignore[union-attr]
    teacher = backbone.teacher(4)
    assert {id(p) for p in teacher.new_parameters()} == {id(p) for p in teacher.head.fc.parameters()}  # type: ignore[union-attr]


def test_only_a_copied_net_is_tuned_from_a_layer(backbone: Backbone) -> None:
    with pytest.raises(ValueError, match="only a copied net"):
        NetPlan((Path(1, 0, UNIVERSAL),), 4, tuned_from=2)
