"""The hashes of a backbone: each sees its own part, and the geometry outlives names, order and library versions."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from blocks import Backbone, InputSpec
from nettailor.backbones.geometry import canonical_form
from nettailor.backbones.hashes import classifier_sha256, geometry_sha256, tensors_sha256
from nettailor.backbones.load import load_backbone

TINY_GEOMETRY = "556f18e75a989a6428510a99439215d766af090611fdc006c39441893cebfb2e"
"""Stands in deltas on people's disks: a change of this value makes them be refused, so it must not change."""


def untrained(name: str) -> Backbone:
    return load_backbone(name, untrained=True, input_size=64)


def test_the_embedded_backbones_geometry_is_what_it_was() -> None:
    assert geometry_sha256(load_backbone()) == TINY_GEOMETRY


def test_each_hash_sees_its_own_part(backbone: Backbone) -> None:
    hashes = tensors_sha256, geometry_sha256, classifier_sha256
    before = [of(backbone) for of in hashes]
    assert len(set(before)) == 3
    with torch.no_grad():
        backbone.head.get_submodule(backbone.classifier_paths[0]).weight[0, 0] += 1
    assert [of(backbone) == was for of, was in zip(hashes, before, strict=True)] == [True, True, False]
    before = [of(backbone) for of in hashes]
    with torch.no_grad():
        next(iter(backbone.tensors().values())).add_(1)
    assert [of(backbone) == was for of, was in zip(hashes, before, strict=True)] == [False, True, True]


@pytest.mark.parametrize(
    "name",
    [
        *("timm/test_resnet", "timm/test_efficientnet", "timm/test_convnext", "timm/test_byobnet", "timm/test_nfnet"),
        *("timm/mobilenetv2_050", "timm/mobilenetv2_050,pad_type=same", "torchvision/shufflenet_v2_x0_5"),
        *("torchvision/squeezenet1_0", "torchvision/mobilenet_v3_small"),
    ],
)
def test_built_twice_at_other_weights_the_geometry_is_the_same(name: str) -> None:
    torch.manual_seed(1)
    one = untrained(name)
    torch.manual_seed(2)
    state = torch.get_rng_state()
    other = untrained(name)
    torch.set_rng_state(state)
    assert geometry_sha256(one) == geometry_sha256(other)
    assert torch.equal(torch.get_rng_state(), state), "hashing draws no random numbers"
    assert tensors_sha256(one) != tensors_sha256(other)
    moved = copy.deepcopy(other)
    assert geometry_sha256(moved) == geometry_sha256(one)
    assert all("object at 0x" not in line for line in canonical_form(one)), "an address is in no canonical form"


def test_padding_that_no_tensor_tells_apart_is_seen() -> None:
    torch.manual_seed(1)
    one = untrained("timm/mobilenetv2_050")
    torch.manual_seed(1)
    other = untrained("timm/mobilenetv2_050,pad_type=same")
    assert tensors_sha256(one) == tensors_sha256(other)
    assert geometry_sha256(one) != geometry_sha256(other)


def first(model: nn.Module, kind: type[nn.Module], which: Callable[[Any], bool] = lambda m: True) -> Any:
    return next(module for module in model.modules() if isinstance(module, kind) and which(module))


def set_on(
    kind: type[nn.Module], which: Callable[[Any], bool] = lambda m: True, **values: Any
) -> Callable[[Any], None]:
    def change(model: nn.Module) -> None:
        for name, value in values.items():
            setattr(first(model, kind, which), name, value)

    return change


def other_activation(model: nn.Module) -> None:
    parent = next(
        (m, name)
        for m in model.modules()
        for name, child in m.named_children()
        if isinstance(child, (nn.ReLU, nn.SiLU))
    )
    setattr(parent[0], parent[1], nn.Hardswish())


def is_wide(convolution: nn.Conv2d) -> bool:
    return convolution.kernel_size[0] > 1 and convolution.stride[0] == 1


CHANGES: dict[str, Callable[[Any], None]] = {
    "eps": set_on(nn.BatchNorm2d, eps=1e-3),
    "padding mode": set_on(nn.Conv2d, is_wide, padding_mode="reflect"),
    "dilation and padding": set_on(nn.Conv2d, is_wide, dilation=(2, 2), padding=(2, 2)),
    "activation": other_activation,
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("name", ["test_resnet", "test_efficientnet", "test_byobnet", "mobilenetv3_small_050"])
def test_what_is_in_no_tensor_is_seen(name: str, change: str) -> None:
    import timm

    spec = InputSpec(64, (0.5,) * 3, (0.5,) * 3)

    def build(alter: Callable[[Any], None]) -> Backbone:
        torch.manual_seed(0)
        model = timm.create_model(name)
        alter(model)
        return Backbone(model, spec, name)

    one, other = build(lambda model: None), build(CHANGES[change])
    assert tensors_sha256(one) == tensors_sha256(other)
    assert geometry_sha256(one) != geometry_sha256(other)


class Unit(nn.Module):
    """A residual unit, whose parts have the names that it is given and whose shortcut runs first or last."""

    def __init__(self, names: str, channels: int, stride: int, shortcut_first: bool, wide: bool) -> None:
        super().__init__()
        self.names, self.shortcut_first = names, shortcut_first
        groups = 1 if wide else 2
        setattr(self, names[0], nn.Conv2d(channels, channels, 3, stride, 1, groups=groups, bias=False))
        setattr(self, names[1], nn.BatchNorm2d(channels))
        setattr(self, names[2], nn.AvgPool2d(stride, ceil_mode=True) if stride > 1 else nn.Identity())
        self.drop = nn.Dropout(0.1) if shortcut_first else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        convolution, norm, shortcut = (getattr(self, name) for name in self.names)
        if self.shortcut_first:
            y = shortcut(x)
            return torch.relu(torch.add(y, self.drop(norm(convolution(x)))))
        z = norm(convolution(x))
        z += shortcut(x)
        return z.relu()


class Net(nn.Module):
    def __init__(self, names: str, shortcut_first: bool = False, stride: int = 2, wide: bool = True) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, 1, 1), nn.ReLU())
        strides = (1, stride, 1, 1, 1)
        self.units = nn.Sequential(*(Unit(names, 8, step, shortcut_first, wide) for step in strides))
        self.fc = nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.units(self.stem(x)).mean((2, 3)))


def net(*given: Any, classes: int = 5, **words: Any) -> Backbone:
    model = Net(*given, **words)
    model.fc = nn.Linear(8, classes)
    return Backbone(model, InputSpec(16, (0.5,) * 3, (0.5,) * 3), "net")


def test_names_order_spelling_and_dropout_make_no_difference() -> None:
    one, other = net("abc"), net("zyx", shortcut_first=True)
    assert canonical_form(one) == canonical_form(other)
    assert {name for name, _ in one.named_parameters()} != {name for name, _ in other.named_parameters()}


def test_nor_does_the_number_of_the_source_classes() -> None:
    assert geometry_sha256(net("abc")) == geometry_sha256(net("abc", classes=9))


def test_stride_and_groups_do() -> None:
    found = {geometry_sha256(built) for built in (net("abc"), net("abc", stride=1), net("abc", wide=False))}
    assert len(found) == 3


def test_a_weight_that_is_used_twice_is_not_two_weights() -> None:
    spec = InputSpec(16, (0.5,) * 3, (0.5,) * 3)

    class Twice(nn.Module):
        def __init__(self, shared: bool) -> None:
            super().__init__()
            self.first = nn.Conv2d(8, 8, 3, padding=1)
            self.second = self.first if shared else nn.Conv2d(8, 8, 3, padding=1)

        def forward(self, x: Tensor) -> Tensor:
            return torch.relu(self.second(torch.relu(self.first(x))) + x)

    def with_unit(shared: bool) -> Backbone:
        model = Net("abc")
        model.units[2] = Twice(shared)
        return Backbone(model, spec, "net")

    assert geometry_sha256(with_unit(True)) != geometry_sha256(with_unit(False))
