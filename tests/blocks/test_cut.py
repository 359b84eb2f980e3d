"""Cutting is exact: the pieces give what the model gave, bit for bit, and hold just what it held."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import timm
import torch
import torchvision
from torch import Tensor, nn

from blocks import Backbone, CutError, InputSpec, count_macs, count_params, cut
from blocks.ruler import tensors_of
from nettailor.embedded import resnet34_tiny

CASES: list[tuple[str, Callable[[], nn.Module], int, str, int]] = [
    ("embedded", resnet34_tiny, 16, "layer1.0", 16),
    ("torchvision resnet18", lambda: torchvision.models.resnet18(), 8, "layer1.0", 8),
    ("timm mobilenetv2_100", lambda: timm.create_model("mobilenetv2_100"), 17, "blocks.0.0", 0),
    ("timm test_convnext", lambda: timm.create_model("test_convnext"), 9, "stages.0.blocks.0", 0),
    ("torchvision vgg11_bn", lambda: torchvision.models.vgg11_bn(init_weights=False), 7, "features.4", 7),
    ("torchvision densenet121", lambda: torchvision.models.densenet121(), 7, "features.denseblock1", 1),
]


@pytest.fixture(params=CASES, ids=[case[0] for case in CASES])
def case(request: pytest.FixtureRequest) -> tuple[nn.Module, int, str, int]:
    _, build, blocks, first, acts = request.param
    return build().eval(), blocks, first, acts


def test_pieces_in_a_row_equal_the_model_bit_for_bit(case: tuple[nn.Module, int, str, int]) -> None:
    model, blocks, first, acts = case
    x = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        expected = model(x)
        pieces = cut(model, x)
        out = pieces.stem(x)
        for piece in pieces.pieces:
            out = piece.body(out)
            out = out if piece.act is None else piece.act(out)
        out = pieces.head(out)
    assert torch.equal(out, expected)
    assert len(pieces.pieces) == blocks
    assert pieces.pieces[0].name == first
    assert sum(piece.act is not None for piece in pieces.pieces) == acts


def test_macs_and_parameters_of_the_pieces_add_up(case: tuple[nn.Module, int, str, int]) -> None:
    model, *_ = case
    whole_params = count_params(tensors_of(model).values())
    whole_macs = count_macs(model, torch.zeros(1, 3, 64, 64))
    backbone = Backbone(model, InputSpec(64, (0.0,) * 3, (1.0,) * 3), "model")
    (path,) = backbone.classifier_paths
    classifier = backbone.head.get_submodule(path)
    own = sum(parameter.numel() for parameter in classifier.parameters())
    assert backbone.cost.params + own == whole_params
    assert backbone.cost.macs + classifier.weight.numel() == whole_macs


def test_pieces_share_the_models_own_parameters(case: tuple[nn.Module, int, str, int]) -> None:
    model, *_ = case
    pieces = cut(model, torch.zeros(1, 3, 64, 64))
    segments = [pieces.stem, *(piece.body for piece in pieces.pieces), pieces.head]
    held = {id(p) for segment in segments for p in segment.parameters()}
    assert held == {id(p) for p in model.parameters()}


def test_a_block_does_not_overwrite_what_a_proxy_reads() -> None:
    class PreActivation(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.act, self.conv = nn.ReLU(inplace=True), nn.Conv2d(4, 4, 3, padding=1)

        def forward(self, x: Tensor) -> Tensor:
            return self.conv(self.act(x))

    model = nn.Sequential(
        nn.Conv2d(3, 4, 3),
        nn.Sequential(PreActivation(), PreActivation(), PreActivation()),
        nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 5)),
    )
    pieces = cut(model, torch.zeros(1, 3, 8, 8))
    x = torch.randn(1, 4, 6, 6)
    before = x.clone()
    with torch.no_grad():
        pieces.pieces[1].body(x)
    assert torch.equal(x, before)


class TwoAnswers(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.trunk = torchvision.models.resnet18()

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        y = self.trunk(x)
        return y, y + 1


class DependsOnData(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x) if x.sum() > 0 else x


@pytest.mark.parametrize(
    ("build", "size", "says"),
    [
        (TwoAnswers, 64, "one tensor of logits"),
        (DependsOnData, 64, "can't trace"),
        (lambda: timm.create_model("test_vit"), 160, "at least 2 are needed"),
        (lambda: nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(4 * 36, 5)), 8, "at least 2 are needed"),
        (lambda: torchvision.models.alexnet(), 16, "can't take a picture of 16x16"),
    ],
    ids=["two outputs", "untraceable", "transformer", "too few blocks", "input too small"],
)
def test_what_cannot_be_cut_is_refused_in_plain_words(build: Callable[[], nn.Module], size: int, says: str) -> None:
    with pytest.raises(CutError, match=says):
        cut(build(), torch.zeros(1, 3, size, size))
