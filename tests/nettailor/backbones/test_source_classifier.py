"""Random classifiers are told from trained ones by their weights."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import timm
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from nettailor.backbones.load import load_backbone
from nettailor.backbones.source_classifier import looks_random
from tests.tiny import tiny_resnet

SHARED = Path(__file__).parents[4] / "shared" / "weights"


class Weighted:
    """What is asked of a backbone."""

    def __init__(self, classifier: nn.Module) -> None:
        self.head = nn.ModuleDict({"fc": classifier})
        self.classifier_paths = ("fc",)


def judged(classifier: nn.Module) -> bool:
    return looks_random(Weighted(classifier))  # type: ignore[arg-type]


def test_the_embedded_backbones_is_trained_and_a_fresh_network_of_it_is_not() -> None:
    assert not looks_random(load_backbone())
    assert looks_random(load_backbone(untrained=True))


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("tests.cifar_resnet:resnet20", "cifar_resnet20"),
        ("tests.cifar_resnet:resnet56", "cifar_resnet56"),
        ("timm/mobilenetv2_100,pad_type=same", "mobilenetv2_100_imagenet"),
    ],
)
def test_pretrained_ones_are_trained(name: str, file: str) -> None:
    weights = SHARED / f"{file}.safetensors"
    if not weights.is_file():
        pytest.skip("the shared weights are not on this machine")
    assert not looks_random(load_backbone(name, weights, 32))


@pytest.mark.parametrize(
    "start",
    [
        lambda weight: weight,
        lambda weight: nn.init.normal_(weight, std=0.01),
        lambda weight: nn.init.trunc_normal_(weight, std=0.02),
        lambda weight: nn.init.xavier_uniform_(weight),
        nn.init.zeros_,
    ],
)
@pytest.mark.parametrize("shape", [(10, 64), (200, 128), (1000, 512)])
def test_no_usual_start_is_taken_for_training(
    start: Callable[[torch.Tensor], torch.Tensor], shape: tuple[int, int]
) -> None:
    classes, features = shape
    linear = nn.Linear(features, classes)
    start(linear.weight)
    assert judged(linear)
    assert judged(nn.Conv2d(features, classes, 1))


@pytest.mark.parametrize(("classes", "features"), [(3, 16), (10, 32), (100, 64)])
def test_a_short_training_is_seen(classes: int, features: int) -> None:
    linear = nn.Linear(features, classes)
    centres = torch.randn(classes, features)
    optimizer = torch.optim.SGD(linear.parameters(), 0.5, weight_decay=1e-4)
    for _ in range(200):
        labels = torch.randint(classes, (128,))
        optimizer.zero_grad()
        cross_entropy(linear((centres[labels] + torch.randn(128, features)).relu()), labels).backward()
        optimizer.step()
    assert not judged(linear)


def test_a_models_own_start() -> None:
    assert judged(tiny_resnet().fc)  # type: ignore[arg-type]
    assert judged(timm.create_model("test_efficientnet").classifier)
