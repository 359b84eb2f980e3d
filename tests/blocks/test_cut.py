"""Cutting is exact: the pieces give what the model gave, bit for bit, and hold just what it held."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import timm
import torch
import torchvision
from torch import Tensor, nn

from blocks import Backbone, CutError, InputSpec, count_macs, count_params, cut
from blocks.counting import tensors_of
from nettailor.backbones.resnet34_tiny import resnet34_tiny

CASES: list[tuple[str, Callable[[], nn.Module], int, str, int]] = [
    ("embedded", resnet34_tiny, 16, "layer1.0", 16),
    ("torchvision resnet18", lambda: torchvision.models.resnet18(), 8, "layer1.0", 8),
    ("timm mobilenetv2_100", lambda: timm.create_model("mobilenetv2_100"), 17, "blocks.0.0", 0),
    ("timm test_convnext", lambda: timm.create_model("test_convnext"), 9, "stages.0.blocks.0", 0),
    ("torchvision vgg11_bn", lambda: torchvision.models.vgg11_bn(init_weights=False), 7, "features.4", 7),
    ("torchvision densenet121", lambda: torchvision.models.densenet121(), 7, "features.denseblock1", 1),
    ("timm regnetx_002, stages of one block", lambda: timm.create_model("regnetx_002"), 13, "s1.b1", 13),
    ("timm ghostnet_050, a library's own linear layer", lambda: timm.create_model("ghostnet_050"), 17, "blocks.0.0", 0),
    ("timm swiftformer_xs, two heads", lambda: timm.create_model("swiftformer_xs"), 19, "stages.0.blocks.0", 0),
    ("torchvision squeezenet1_1, a classifier that convolves", torchvision.models.squeezenet1_1, 8, "features.3", 0),
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
    classifiers = [backbone.head.get_submodule(path) for path in backbone.classifier_paths]
    own = sum(parameter.numel() for classifier in classifiers for parameter in classifier.parameters())
    assert backbone.cost.params + own == whole_params
    last = torch.zeros(1, *backbone.shapes[-1])
    with_classifier = count_macs(backbone.head, last)
    assert backbone.cost.macs - backbone.head_cost.macs + with_classifier == whole_macs
    assert with_classifier - backbone.head_cost.macs >= sum(classifier.weight.numel() for classifier in classifiers)


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


def test_a_network_without_units_of_its_own_is_cut_between_its_convolutions() -> None:
    cnn = nn.Sequential(
        *(
            nn.Sequential(nn.Conv2d(3 if n == 0 else 8, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU())
            for n in range(7)
        ),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(8, 5),
    )
    pieces = cut(cnn, torch.zeros(1, 3, 8, 8)).pieces
    assert [piece.name for piece in pieces] == [f"{n}.0" for n in range(1, 7)]
    assert all(isinstance(piece.act, nn.Module) for piece in pieces)


def test_a_depthwise_convolution_alone_is_no_block() -> None:
    pieces = cut(timm.create_model("mobileone_s0").eval(), torch.zeros(1, 3, 64, 64)).pieces
    for piece in pieces:
        assert any(part.groups == 1 for part in piece.body.modules() if isinstance(part, nn.Conv2d)), piece.name


def test_a_model_inside_another_is_cut_by_its_own_units() -> None:
    pieces = cut(nn.Sequential(torchvision.models.resnet18()), torch.zeros(1, 3, 64, 64)).pieces
    assert [piece.name for piece in pieces][:2] == ["0.layer1.0", "0.layer1.1"]


def test_activations_whose_channels_come_last_are_no_place_to_cut() -> None:
    class Last(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.linear = nn.Conv2d(8, 8, 3, padding=1), nn.Linear(8, 8)

        def forward(self, x: Tensor) -> Tensor:  # (B, H, W, C) in and out
            return x + self.linear(self.conv(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1))

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem, self.blocks = nn.Conv2d(3, 8, 3), nn.Sequential(*(Last() for _ in range(6)))
            self.head = nn.Linear(8, 5)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.blocks(self.stem(x).permute(0, 2, 3, 1)).mean((1, 2)))

    with pytest.raises(CutError, match="at least 2 are needed"):
        cut(Net(), torch.zeros(1, 3, 16, 16))


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


class NoClassifier(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.trunk = torchvision.models.resnet18()
        self.trunk.fc = nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return self.trunk(x)


@pytest.mark.parametrize(
    ("build", "size", "says"),
    [
        (TwoAnswers, 64, "returns a tuple of 2; one tensor of logits .* wrap it in a module"),
        (DependsOnData, 64, "torch.fx can't trace DependsOnData .* write it without"),
        (lambda: timm.create_model("test_vit"), 160, "at least 2 are needed.* a transformer or .* won't"),
        (lambda: timm.create_model("swin_tiny_patch4_window7_224"), 224, "at least 2 are needed"),
        (lambda: nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(4 * 36, 5)), 8, "at least 2 are needed"),
        (lambda: timm.create_model("nasnetalarge"), 64, "at 5 places and has 1 .*cell_stem_0..cell_17"),
        (lambda: torchvision.models.alexnet(), 16, "can't take a picture of 16x16"),
        (NoClassifier, 64, "the logits come from trunk.layer4.* a BatchNorm2d; a linear layer"),
    ],
    ids=["two outputs", "untraceable", "transformer", "windows", "too few", "two cells", "too small", "no classifier"],
)
def test_what_cannot_be_cut_is_refused_in_plain_words(build: Callable[[], nn.Module], size: int, says: str) -> None:
    with pytest.raises(CutError, match=says) as problem:
        cut(build(), torch.zeros(1, 3, size, size))
    assert len(str(problem.value).splitlines()) == 1
