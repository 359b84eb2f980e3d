"""What new units begin as: random, or copies of old ones."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d

from blocks import Backbone, Grown, Growth, InputSpec
from blocks.grown_start import NOISE, begin, carry_over, copy_units, old_counts, old_units
from tests.blocks.test_grown import stack, whole


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(5)


@pytest.mark.parametrize(("start", "deviation"), [("kaiming", (2 / (16 * 9)) ** 0.5), ("normal", 0.005)])
def test_random_units(backbone: Backbone, start: str, deviation: float) -> None:
    net = whole(backbone, Grown((Growth("width", 400),)))
    begin(net, start, 20.0, generator())  # type: ignore[arg-type]
    units, classifier = net.head.new_beside1, net.head.new_classifier
    assert units.weight.std().item() == pytest.approx(deviation, rel=0.02)  # type: ignore[union-attr, operator]
    assert not units.bias.any()  # type: ignore[union-attr, operator]
    assert classifier.weight.std().item() == pytest.approx(0.01, rel=0.1)  # type: ignore[union-attr, operator]
    assert not classifier.bias.any()  # type: ignore[union-attr, operator]
    assert (net.head.new_scale_h.gamma == 20).all()  # type: ignore[union-attr]
    assert (net.head.new_scale_beside1.gamma == 20).all()  # type: ignore[union-attr]


class Linear3x3(nn.Module):
    """A CNN whose last block is one 3x3 convolution with a bias, so that a ridge fit can find it again."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1), nn.ReLU())
        self.rest = nn.Sequential(*(nn.Sequential(nn.Conv2d(4, 4, 3, s, 1), nn.ReLU()) for s in (1, 1, 1, 1, 2)))
        self.fc = nn.Linear(4, 5)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.fc(self.rest(self.first(x)).mean((2, 3)))
        return logits


@torch.no_grad()
def test_copies_of_a_blocks_units_answer_as_its_convolution_where_it_is_one() -> None:
    backbone = Backbone(Linear3x3(), InputSpec(16, (0.5,) * 3, (0.5,) * 3), "linear")
    net = whole(backbone, Grown((Growth("twice", 3, 2),)))
    drawn = generator()
    pictures = [torch.randn(64, 3, 16, 16, generator=drawn) for _ in range(6)]
    old = old_units(net, lambda: iter(pictures))
    assert {name: len(units.weight) for name, units in old.items()} == old_counts(net.plan.top, backbone)  # type: ignore[arg-type]
    (last, below) = (
        next(part for part in backbone.blocks[number].modules() if isinstance(part, nn.Conv2d)) for number in (-1, -2)
    )
    xs = net.activations(torch.randn(64, 3, 16, 16, generator=drawn))
    for name, layer, x in (("new_beside1", last, xs[-3]), ("new_below1", below, xs[-4])):
        wanted = layer(x)
        found = conv2d(x, old[name].weight, old[name].bias, layer.stride, 1)
        assert (found - wanted).square().mean() < 0.01 * wanted.var((0, 2, 3)).mean(), name
    copy_units(net, old, generator())
    rows = net.head.new_beside1.weight  # type: ignore[union-attr]
    distances = torch.cdist(rows[:, :4].flatten(1), old["new_beside1"].weight.flatten(1))  # type: ignore[index, operator]
    assert len(set(distances.argmin(1).tolist())) == 3, "drawn without replacement"
    noise = NOISE * old["new_beside1"].weight.std()
    assert float(rows[:, 4:].std()) == pytest.approx(float(noise), rel=0.4), "old units read no new ones"  # type: ignore[index, operator]


@torch.no_grad()
def test_copies_of_linear_units_are_rows_with_noise() -> None:
    backbone = stack(40, 30)
    net = whole(backbone, Grown((Growth("twice", 30, 20),)))
    old = old_units(net, lambda: iter(()))
    copy_units(net, old, generator())
    for name, path in (("new_beside1", "hidden.2"), ("new_below1", "hidden.0")):
        layer, made = backbone.head.get_submodule(path), net.head.get_submodule(name)
        inputs = layer.weight.shape[1]  # type: ignore[union-attr, index]
        nearest = torch.cdist(made.weight[:, :inputs], layer.weight).argmin(1)  # type: ignore[index, arg-type]
        assert len(set(nearest.tolist())) == len(nearest)
        difference = made.weight[:, :inputs] - layer.weight[nearest]  # type: ignore[index, operator]
        assert float(difference.std()) == pytest.approx(NOISE * float(layer.weight.std()), rel=0.15)  # type: ignore[operator, union-attr]
        assert torch.equal(made.bias, layer.bias[nearest])  # type: ignore[index, arg-type]


@pytest.mark.parametrize("kind", ["depth", "width", "both", "twice"])
@torch.no_grad()
def test_a_network_that_grows_again_begins_as_it_was_without_its_classifier(backbone: Backbone, kind: str) -> None:
    step = Growth(kind, 8, 4 if kind == "twice" else 0)  # type: ignore[arg-type]
    for used in (backbone, stack(10, 9)):
        before = whole(used, Grown((step,)), tuned_from=0)
        for tensor in before.task_tensors().values():
            tensor.mul_(1.01)
        after = whole(used, Grown((step, step)), tuned_from=0)
        carry_over(after, before)
        x, seen = torch.randn(2, 3, 16, 16), list[Tensor]()
        for net in (before, after):
            net.head.new_classifier.register_forward_pre_hook(lambda _, given, seen=seen: seen.append(given[0]))  # type: ignore[union-attr, operator]
            if kind in ("depth", "both") and net is after:
                net.head.new_scale_above1.register_forward_hook(lambda _, given, out, seen=seen: seen.append(out))  # type: ignore[union-attr, operator]
            net.eval()(x)
        assert torch.equal(seen[1][:, : seen[0].shape[1]], seen[0])
        trained = {name.split(".")[1] for name, p in whole(used, after.plan.top).named_parameters() if p.requires_grad}  # type: ignore[arg-type]
        assert all(name.startswith("new_") for name in trained), "with tune_from=new only the last step trains"


def test_a_network_that_has_grown_in_depth_has_the_units_on_top_to_copy(backbone: Backbone) -> None:
    step = Growth("both", 8)
    net = whole(backbone, Grown((step, step)))
    assert old_counts(Grown((step, step)), backbone) == {"new_beside2": 8}
    assert torch.equal(old_units(net, lambda: iter(()))["new_beside2"].weight, net.head.grown_above1.weight)  # type: ignore[union-attr, arg-type]
    assert old_counts(Grown((Growth("depth", 8),)), backbone) == {}
