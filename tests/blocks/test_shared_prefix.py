"""A student that leaves its first blocks alone, and nets that go on from an activation."""

from __future__ import annotations

import pytest
import timm
import torch
from torch import nn

from blocks import Backbone, CompactNet, InputSpec, NetPlan, Path, Plan, TailoredNet, compact, fold
from blocks.assembly import PrefixError
from blocks.counting import tensors_of
from blocks.fold import Span, fold_span
from blocks.paths import UNIVERSAL
from blocks.untouched import untouched
from tests import tiny

SHARED = Plan(skips=3, batch_norm="affine", rank=2, shared_prefix=3)


def lite0() -> Backbone:
    """Depthwise convolutions, ReLU6, and blocks that end linearly."""
    model = timm.create_model("efficientnet_lite0", num_classes=5)
    return Backbone(tiny.live_in(model, 32), InputSpec(32, (0.5, 0.5, 0.5), (0.25, 0.25, 0.25)), "lite0")


@pytest.mark.parametrize("gates", ["softmax", "independent"])
def test_nothing_of_the_prefix_is_the_tasks_own(backbone: Backbone, gates: str) -> None:
    plan = Plan(skips=3, gates=gates, batch_norm="affine", rank=2, shared_prefix=3)
    student = TailoredNet(backbone, 4, plan)
    into = [path for path in student.paths if path.target <= 3]
    assert [path.key for path in into] == ["G1", "G2", "G3"]
    assert {path.source for path in student.paths if path.target == 4 and not path.is_universal} == {1, 2, 3}
    assert (student.gates()[:3, 0] == 1).all()
    assert not (student.gates()[:3, 1:] != 0).any()
    assert (student.gates()[3:, 0] < 1).all()
    touched = {name.rpartition(".")[0] for name in student.task_tensors()}
    assert not any(name.startswith(("stem", "blocks.1.", "blocks.2.", "blocks.3.")) for name in touched)
    assert any(name.startswith("blocks.4.") for name in touched)
    assert all(not student.layer_parameters(layer) for layer in (1, 2, 3))


def test_training_reaches_everything_behind_the_prefix_and_nothing_in_it(backbone: Backbone) -> None:
    before = {name: tensor.clone() for name, tensor in backbone.tensors().items()}
    student = TailoredNet(backbone, 4, SHARED).train()
    activity = student.run(torch.randn(8, 3, 16, 16))
    assert [x is not None and x.requires_grad for x in activity.activations] == [False] * 4 + [True] * 3
    activity.logits.square().sum().backward()
    assert all(parameter.grad is not None for parameter in student.trained_parameters())
    assert not student.gates.logits.grad[:3].any()
    assert student.gates.logits.grad[3:].any()
    assert all(torch.equal(tensor, before[name]) for name, tensor in backbone.tensors().items())
    reached = backbone.activations(torch.zeros(2, 3, 16, 16))[3]
    known = student.run(torch.zeros(2, 3, 16, 16)).activations[3]
    assert known is not None
    assert torch.allclose(reached, known, atol=1e-5)


@pytest.mark.parametrize("gates", ["softmax", "independent"])
@pytest.mark.parametrize("shared", [1, 3, 6])
def test_the_compact_net_has_the_same_bits_and_its_folded_copy_agrees(gates: str, shared: int) -> None:
    backbone = tiny.tiny_backbone()
    plan = Plan(skips=3, gates=gates, batch_norm="affine", rank=2, shared_prefix=shared)
    student = TailoredNet(backbone, 4, plan).eval()
    net, x = compact(student), torch.randn(3, 3, 16, 16)
    assert net.plan.shared_prefix == shared
    assert sorted(net.gates) == [str(layer) for layer in range(shared + 1, 7)]
    assert net.gate_of(Path(1, 0, UNIVERSAL)) == 1.0
    assert torch.equal(net(x), student(x))
    assert torch.allclose(fold(net)(x), net(x), atol=1e-5)
    assert compact(net).plan == net.plan
    assert len(untouched(net)) == 1 + shared


def test_without_a_prefix_all_is_as_it_was(backbone: Backbone) -> None:
    student = TailoredNet(backbone, 4, Plan(batch_norm="affine"))
    assert student.gates().requires_grad
    assert student.gates.fade.sum() == len(student.paths) == 6 + 1 + 2 + 4 * 3
    assert any(name.startswith("stem") for name in student.task_tensors())
    assert untouched(compact(student.eval())) == ()


def test_a_prefix_that_can_not_be_is_refused(backbone: Backbone) -> None:
    for shared in (7, -1):
        with pytest.raises(PrefixError, match="has 6 universal blocks"):
            TailoredNet(backbone, 4, Plan(shared_prefix=shared))
    universal = tuple(Path(layer, 0, UNIVERSAL) for layer in range(1, 7))
    with pytest.raises(PrefixError, match="owns every tensor"):
        NetPlan(universal, 4, copied=True, shared_prefix=1)
    for paths in (universal[1:], (*universal, Path(2, 1, "conv1x1")), (*universal[:1], Path(2, 2, "identity"))):
        with pytest.raises(PrefixError, match="not their universal blocks alone"):
            NetPlan(paths, 4, shared_prefix=2)


def make(net: str) -> CompactNet:
    """A net whose layers behind the second are its own, with proxies from the shared activations."""
    backbone = tiny.tiny_backbone() if net == "resnet" else lite0()
    torch.manual_seed(1)
    student = TailoredNet(backbone, 4, Plan(skips=3, batch_norm="affine", shared_prefix=2)).eval()
    gone = ("A2-3", "A1-3", "G4", "A3-4") if net == "resnet" else ("G3", "A2-4", "A0-3")
    student.keep(path for path in student.paths if path.key not in gone)
    return compact(student)


@pytest.mark.parametrize("name", ["resnet", "lite0"])
def test_a_net_goes_on_from_an_activation_with_the_same_bits(name: str) -> None:
    net = make(name)
    x = torch.randn(2, 3, net.spec.size, net.spec.size)
    whole = net(x)
    for layer in (0, 1, 2, 4, net.depth):
        known = net.advance({0: net.stem(x)}, 0, layer)
        needed = {number: known[number] for number in net.reads(layer)}
        assert torch.equal(net.forward_from(needed, layer), whole), layer
    assert net.reads(net.depth) == (net.depth,)
    assert net.reads(2) == ((0, 1, 2) if name == "resnet" else (1, 2))
    with pytest.raises(KeyError):
        net.forward_from({0: needed[net.depth]}, 2)


@pytest.mark.parametrize("name", ["resnet", "lite0"])
@pytest.mark.parametrize("layer", [0, 2, 4])
def test_a_net_can_be_folded_in_two_parts(name: str, layer: int) -> None:
    net = make(name)
    x = torch.randn(2, 3, net.spec.size, net.spec.size)
    reads = net.reads(layer)
    first = fold_span(net, Span(last=layer, wanted=reads))
    rest = fold_span(net, Span(first=layer, given=reads))
    whole = net(x)
    assert (rest(*first(x)) - whole).abs().max() < 1e-5 * whole.abs().max().clamp(min=1)
    parameters = [sum(tensor.numel() for tensor in tensors_of(part).values()) for part in (first, rest, fold(net))]
    assert sum(parameters[:2]) == parameters[2]
    shared = {id(tensor) for tensor in tensors_of(net).values()}
    assert not any(id(tensor) in shared for part in (first, rest) for tensor in tensors_of(part).values())
    assert not any(isinstance(part, nn.BatchNorm2d) for part in first.modules())
