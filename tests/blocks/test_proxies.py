"""Proxies fit any pair of activations, "auto" keeps them cheap, and a user's own form is a few lines."""

from __future__ import annotations

from pathlib import Path

import pytest
import timm
import torch
import torchvision
from torch import nn

from blocks import Backbone, InputSpec, Plan, TailoredNet, count_macs
from blocks.proxies import AFFORDABLE, FORMS, Proxy, Site, form_for, hidden_width, register
from blocks.student import candidate_paths

SHAPES = [
    ((8, 16, 16), (8, 16, 16)),  # as it is
    ((8, 16, 16), (24, 16, 16)),  # wider
    ((24, 16, 16), (8, 16, 16)),  # narrower
    ((8, 16, 16), (16, 8, 8)),  # half
    ((8, 15, 15), (16, 8, 8)),  # odd, rounded up
    ((8, 15, 15), (16, 7, 7)),  # odd, rounded down
    ((8, 16, 16), (8, 4, 4)),  # twice
    ((8, 17, 17), (8, 5, 5)),  # twice, odd
    ((8, 21, 21), (8, 7, 7)),  # by three
    ((8, 9, 16), (8, 3, 7)),  # not square, by no whole number
    ((8, 7, 7), (8, 1, 1)),  # to a point
    ((8, 4, 4), (8, 7, 7)),  # up
]


@pytest.mark.parametrize("form", ["conv1x1", "bottleneck", "identity"])
@pytest.mark.parametrize(("source", "target"), SHAPES)
def test_a_proxy_fits_any_pair_of_activations(
    form: str, source: tuple[int, int, int], target: tuple[int, int, int]
) -> None:
    proxy = Proxy(form, Site(source, target, width=target[0]))
    x = torch.randn(2, *source, requires_grad=True)
    out = proxy(x)
    assert out.shape == (2, *target)
    out.sum().backward()
    assert x.grad is not None


def test_an_identity_is_free_where_shapes_agree() -> None:
    same = Proxy("identity", Site((8, 4, 4), (8, 4, 4), 8))
    assert sum(p.numel() for p in same.parameters()) == 0
    assert count_macs(same, torch.zeros(1, 8, 4, 4)) == 0


def backbone_of(model: nn.Module, size: int) -> Backbone:
    return Backbone(model, InputSpec(size, (0.5,) * 3, (0.25,) * 3), "model")


def test_auto_takes_a_convolution_where_it_costs_at_most_a_tenth_of_a_block_that_is_not_wider_inside() -> None:
    for model, size in ((torchvision.models.resnet50(), 64), (timm.create_model("mobilenetv2_100"), 64)):
        backbone = backbone_of(model, size)
        forms = set()
        for path in candidate_paths(backbone, Plan(skips=3, proxies="auto")):
            if path.is_universal:
                continue
            site, block = backbone.site(path.source, path.target), backbone.block_costs[path.target - 1].macs
            direct = count_macs(Proxy("conv1x1", site), torch.zeros(1, *site.source))
            taken = count_macs(Proxy(path.form, site), torch.zeros(1, *site.source))
            cheap, dear = "conv1x1", "bottleneck"
            if site.beside is not None:
                cheap, dear = "thinned" if site.beside.expands else "conv1x1", "thinned"
            assert path.form == (dear if direct > AFFORDABLE * block else cheap)
            assert path.form == "thinned" or taken <= direct
            assert taken < 0.26 * block
            forms.add(path.form)
        assert {"bottleneck", "thinned"} <= forms


def test_the_embedded_backbones_blocks_are_wide_enough_for_convolutions() -> None:
    from nettailor.backbones.resnet34_tiny import resnet34_tiny

    paths = candidate_paths(backbone_of(resnet34_tiny(), 32), Plan(skips=3, proxies="auto"))
    assert {path.form for path in paths} == {"universal", "conv1x1"}


def test_the_hidden_width_is_a_quarter_of_the_blocks_own_bottleneck() -> None:
    backbone = backbone_of(torchvision.models.resnet50(), 64)
    assert backbone.widths[0] == 64  # of 256 channels
    assert hidden_width(backbone.site(1, 2)) == 16
    assert form_for("identity", backbone.site(1, 2), 1) == "identity"


def test_a_form_of_the_users_own_is_ten_lines() -> None:
    code = (
        (Path(__file__).parents[2] / "docs" / "extending.md")
        .read_text()
        .split("```python\n# my_proxies.py\n")[1]
        .split("```")[0]
    )
    assert len([line for line in code.splitlines() if line.strip()]) <= 10
    space: dict[str, object] = {}
    exec(compile(code, "my_proxies.py", "exec"), space)
    register("documented")(space["depthwise"])  # type: ignore[arg-type]
    try:
        student = TailoredNet(backbone_of(timm.create_model("resnet10t"), 64), 5, Plan(2, "documented")).train()
        student(torch.rand(2, 3, 64, 64)).sum().backward()
        proxy = student.proxies["0-1"]
        assert any(isinstance(part, nn.Conv2d) and part.groups > 1 for part in proxy.modules())
        assert all(p.grad is not None for p in student.proxies.parameters())
        with pytest.raises(ValueError, match="there is a proxy 'documented' already"):
            register("documented")(FORMS["conv1x1"])
    finally:
        del FORMS["documented"]


@pytest.mark.parametrize("taken", ["conv1x1", "auto", "universal"])
def test_a_name_that_means_something_is_not_given_away(taken: str) -> None:
    with pytest.raises(ValueError, match="take another name"):
        register(taken)


def test_an_unknown_form_is_named() -> None:
    with pytest.raises(
        ValueError,
        match="a proxy is one of conv1x1, bottleneck, identity, thinned, thinned_half, thinned_three_quarters, not 'conv3x3'",
    ):
        Proxy("conv3x3", Site((4, 4, 4), (4, 4, 4), 4))
