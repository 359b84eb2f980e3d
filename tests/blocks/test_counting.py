"""MACs agree with another library's count and with the figures that everybody quotes, at any input size."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import timm
import torch
import torchvision
from torch import nn

from blocks import count_macs

QUOTED: list[tuple[str, Callable[[], nn.Module], float]] = [
    ("resnet18", torchvision.models.resnet18, 1.82e9),
    ("mobilenetv2", lambda: timm.create_model("mobilenetv2_100"), 0.30e9),
    ("efficientnet_b0", lambda: timm.create_model("efficientnet_b0"), 0.39e9),
]


@pytest.mark.parametrize(("build", "quoted"), [row[1:] for row in QUOTED], ids=[row[0] for row in QUOTED])
def test_macs_at_224_px_are_what_ptflops_counts_and_what_is_quoted(
    build: Callable[[], nn.Module], quoted: float
) -> None:
    from ptflops import get_model_complexity_info

    model = build().eval()
    ours = count_macs(model, torch.zeros(1, 3, 224, 224))
    theirs, _ = get_model_complexity_info(
        model, (3, 224, 224), as_strings=False, print_per_layer_stat=False, backend="aten"
    )
    assert ours == pytest.approx(theirs, rel=1e-3)
    assert ours == pytest.approx(quoted, rel=0.015)


def test_macs_follow_the_input_size() -> None:
    model = torchvision.models.resnet18()
    small, large = (count_macs(model, torch.zeros(1, 3, size, size)) for size in (112, 224))
    assert 3.5 < large / small < 4.5
    assert count_macs(model, torch.zeros(1, 3, 97, 97)) > 0


def test_counting_leaves_the_model_as_it_was() -> None:
    model = torchvision.models.resnet18().train()
    before = model.bn1.running_mean.clone()
    count_macs(model, torch.zeros(1, 3, 64, 64))
    assert model.training
    assert torch.equal(model.bn1.running_mean, before)


def test_macs_can_be_counted_without_any_memory_for_weights() -> None:
    with torch.device("meta"):
        model = torchvision.models.resnet18()
    assert count_macs(model, torch.zeros(1, 3, 224, 224, device="meta")) == pytest.approx(1.82e9, rel=0.015)
