"""What adapting changed: closed forms of CKA and of the change of weights, and a network layer by layer."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from blocks import Backbone, InputSpec, NetPlan, Path, Plan, TailoredNet, compact
from blocks.paths import UNIVERSAL
from blocks.shallow import ShallowNet
from blocks.whole import WholeNet, first_of_each_stage
from nettailor.training.layer_change import changes, linear_cka, weight_change


def vectors(count: int, size: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(count, size, generator=torch.Generator().manual_seed(seed))


def test_cka_of_itself_is_one_and_no_rotation_factor_or_shift_changes_it() -> None:
    x, y = vectors(60, 8), vectors(60, 5, 1)
    rotation = torch.linalg.qr(vectors(8, 8, 2))[0]
    assert linear_cka(x, x) == pytest.approx(1)
    assert linear_cka(x, 3 * x @ rotation + 7) == pytest.approx(1)
    value = linear_cka(x, y)
    assert value is not None
    assert linear_cka(x @ rotation, 0.5 * y - 2) == pytest.approx(value)
    assert linear_cka(y, x) == pytest.approx(value)
    assert 0 < value < 0.5


def test_cka_is_its_formula_whichever_way_it_is_computed() -> None:
    for count in (40, 6):  # more pictures than numbers, and fewer
        x, y = vectors(count, 8).double(), vectors(count, 10, 1).double()
        a, b = x - x.mean(0), y - y.mean(0)
        expected = (b.T @ a).norm() ** 2 / ((a.T @ a).norm() * (b.T @ b).norm())
        assert linear_cka(x, y) == pytest.approx(float(expected))
    one, two = torch.tensor([[1.0], [-1.0], [1.0], [-1.0]]), torch.tensor([[1.0], [1.0], [-1.0], [-1.0]])
    assert linear_cka(one, two) == 0, "uncorrelated"
    # two columns of equal size of which one is shared: 1 / (1 * sqrt 2)
    assert linear_cka(one, torch.cat([one, two], 1)) == pytest.approx(2**-0.5)
    assert linear_cka(one, torch.ones(4, 3)) is None


def test_the_change_of_weights_is_relative_and_takes_all_parameters_of_a_layer_together() -> None:
    before, after = nn.Linear(2, 1), nn.Linear(2, 1)
    with torch.no_grad():
        before.weight.copy_(torch.tensor([[3.0, 0.0]]))
        before.bias.copy_(torch.tensor([4.0]))
        after.weight.copy_(torch.tensor([[3.0, 5.0]]))
        after.bias.copy_(torch.tensor([4.0]))
    weights, cosine = weight_change(before, after)
    assert weights == pytest.approx(1.0)  # |(0, 5, 0)| / |(3, 0, 4)|
    assert cosine == pytest.approx(25 / (5 * 50**0.5))
    assert weight_change(before, before) == (0.0, 1.0)
    assert weight_change(before, nn.Linear(3, 2, bias=False)) == (None, None)
    with torch.no_grad():
        for parameter in after.parameters():
            parameter.mul_(0)
    assert weight_change(before, after) == (1.0, None)
    assert weight_change(after, before) == (None, None)


def chain(backbone: Backbone, tuned_from: int) -> WholeNet:
    paths = tuple(Path(layer, 0, UNIVERSAL) for layer in range(1, backbone.depth + 1))
    return WholeNet(backbone, NetPlan(paths, 3, copied=True, gated=False, tuned_from=tuned_from))


def test_frozen_layers_have_not_changed_and_those_above_have(backbone: Backbone) -> None:
    pictures = [torch.randn(8, 3, 16, 16), torch.randn(8, 3, 16, 16)]
    same = changes(backbone, compact(chain(backbone, 0)), pictures)
    assert [row.layer for row in same] == list(range(backbone.depth + 1))
    assert [row.name for row in same] == ["stem", *backbone.block_names]
    for row in same:
        assert (row.weights, row.cosine, row.zeros_after) == (0.0, 1.0, row.zeros_before)
        assert row.cka == pytest.approx(1)
    net = chain(backbone, 4)
    with torch.no_grad():
        for name, parameter in net.named_parameters():
            if parameter.requires_grad and name.startswith("blocks"):
                parameter.mul_(1.5)
    rows = changes(backbone, compact(net), pictures)
    assert [row.weights for row in rows[:4]] == [0.0] * 4
    for row in rows[4:]:
        assert row.weights == pytest.approx(0.5)
        assert row.cosine == pytest.approx(1.0)
    assert [row.cka == pytest.approx(1, abs=1e-9) for row in rows[:4]] == [True] * 4
    assert rows[-1].cka is not None
    assert rows[-1].cka < 0.999


def test_zeros_are_counted_before_and_after(backbone: Backbone) -> None:
    pictures, net = [torch.randn(4, 3, 16, 16)], compact(chain(backbone, 0))
    xs = backbone.activations(pictures[0])
    rows = changes(backbone, net, pictures)
    assert rows[2].zeros_before == pytest.approx(float((xs[2] == 0).float().mean()))
    with torch.no_grad():
        for parameter in net.stem.parameters():
            parameter.zero_()
    assert changes(backbone, net, pictures)[0].zeros_after == 1.0
    assert changes(backbone, net, pictures)[0].cka is None, "the same for all pictures"


def test_layers_of_the_head_before_the_classifier_are_compared_in_their_weights() -> None:
    def unit(inner: int) -> nn.Module:
        return nn.Sequential(nn.Conv2d(inner, 4, 3, padding=1), nn.ReLU())

    layers = [unit(3), unit(4), unit(4), unit(4), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 4), nn.ReLU()]
    spec = InputSpec(16, (0.5, 0.5, 0.5), (0.25, 0.25, 0.25))
    backbone = Backbone(nn.Sequential(*layers, nn.Linear(4, 3)), spec, "dense")
    net = chain(backbone, 0)
    with torch.no_grad():
        for parameter in net.head.parameters():
            parameter.mul_(2)
    last = changes(backbone, compact(net), [torch.randn(4, 3, 16, 16)])[-1]
    assert (last.layer, last.name, last.cka) == (backbone.depth + 1, "head", None)
    assert last.weights == pytest.approx(1.0), "the classifier, of the same shape by chance, is left out"
    assert last.cosine == pytest.approx(1.0)


def test_networks_without_some_blocks_or_of_a_frozen_backbone_are_compared_in_what_they_have(
    backbone: Backbone,
) -> None:
    pictures = [torch.randn(8, 3, 16, 16)]
    shallow = changes(backbone, compact(ShallowNet(backbone, 3, 2), backbone), pictures)
    assert [row.layer for row in shallow] == [0, 1, 2, 3]
    plan = NetPlan(first_of_each_stage(backbone, 1), 2, copied=True, gated=False)
    assert [row.layer for row in changes(backbone, compact(WholeNet(backbone, plan)), pictures)] == [0, 1, 3, 5]
    frozen = changes(backbone, compact(TailoredNet(backbone, 2, Plan(skips=0, batch_norm="source"))), pictures)
    assert all(row.weights == 0 and row.cka == pytest.approx(1) for row in frozen)
