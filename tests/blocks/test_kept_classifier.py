"""The top that keeps the source classifier, and its controls."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path as File

import pytest
import timm
import torch
import torchvision
from torch import nn

from blocks import Backbone, InputSpec, KeptClassifier, NetPlan, Path, compact, pack
from blocks.counting import count_params
from blocks.paths import UNIVERSAL
from blocks.representation import representation
from blocks.scaled_norm import ScaledNorm
from blocks.top import TopError, new_layers
from blocks.whole import WholeNet
from nettailor.artifacts.description import read_top
from nettailor.errors import FileError

SOME = [
    KeptClassifier(),
    KeptClassifier(0, "none", "kept"),
    KeptClassifier(0, "l2", "random"),
    KeptClassifier(1, "none", "random"),
    KeptClassifier(2, "batch", "kept"),
    KeptClassifier(3, "l2", "dropped"),
    KeptClassifier(0, "batch", "dropped"),
]


def whole(backbone: Backbone, top: KeptClassifier, tuned_from: int | None = None) -> WholeNet:
    paths = tuple(Path(layer, 0, UNIVERSAL) for layer in range(1, backbone.depth + 1))
    first = backbone.depth + 2 if tuned_from is None else tuned_from
    return WholeNet(backbone, NetPlan(paths, 4, copied=True, gated=False, tuned_from=first, top=top))


@pytest.mark.parametrize("top", SOME, ids=str)
def test_its_logits_are_those_of_its_formula(backbone: Backbone, top: KeptClassifier) -> None:
    net = whole(backbone, top)
    for module in net.head.modules():
        if isinstance(module, nn.BatchNorm1d):
            nn.init.uniform_(module.running_mean, -1, 1)  # type: ignore[arg-type]
            nn.init.uniform_(module.running_var, 0.5, 2)  # type: ignore[arg-type]
    answers, x = compact(net), torch.randn(3, *backbone.shapes[-1])
    head = answers.head

    def n(number: int, v: torch.Tensor) -> torch.Tensor:
        if top.norm == "none":
            return v
        norm = head.get_submodule(f"new_norm{number}")
        assert isinstance(norm, ScaledNorm if top.norm == "l2" else nn.BatchNorm1d)
        return norm(v)

    with torch.no_grad():
        h = representation(backbone)(x)
        z = h
        if top.classifier != "dropped":
            z = head.get_submodule("fc" if top.classifier == "kept" else "new_source")(h)
        v = n(0, z)
        for number in range(1, top.layers + 1):
            v = n(number, head.get_submodule(f"new_layer{number}")(v).relu())
        assert torch.equal(head(x), head.get_submodule("new_classifier")(v))
        assert v.shape[1] == (backbone.features if top.layers else z.shape[1])
        pictures = torch.randn(2, 3, 16, 16)
        assert torch.allclose(answers.for_inference()(pictures), answers(pictures), atol=1e-5)


def test_the_kept_layer_is_the_backbones_and_new_ones_are_the_tasks(backbone: Backbone) -> None:
    d, k = backbone.features, backbone.classes
    own = {"kept": 0, "dropped": 0, "random": d * k + k}
    for classifier, extra in own.items():
        net = compact(whole(backbone, KeptClassifier(2, "l2", classifier)))  # type: ignore[arg-type]
        width = d if classifier == "dropped" else k
        expected = extra + width + (width * d + d) + d + (d * d + d) + d + 4 * d + 4
        assert count_params(net.task_tensors().values()) == expected
        kept = d * k + k if classifier == "kept" else 0
        assert net.cost().params == backbone.cost.params + expected + kept
        source = 0 if classifier == "dropped" else d * k
        assert net.cost().macs == backbone.cost.macs + source + width * d + d * d + 4 * d
        assert net.plan.keeps_source_classifier == (classifier == "kept")
    tuned = whole(backbone, KeptClassifier(), backbone.depth + 1)
    assert "head.fc.weight" in tuned.task_tensors(), "tuned, it is the task's"
    assert not tuned.plan.keeps_source_classifier
    assert torch.equal(tuned.head.get_submodule("fc").weight, backbone.head.get_submodule("fc").weight)  # type: ignore[arg-type]


def test_it_starts_as_said_and_all_that_is_new_is_trained(backbone: Backbone) -> None:
    wide = Backbone(timm.create_model("test_resnet", num_classes=300), InputSpec(32, (0.5,) * 3, (0.5,) * 3), "t")  # type: ignore[arg-type]
    net = whole(wide, KeptClassifier(1, "l2", "random"))
    layers = new_layers(net.head, wide, net.plan.top)
    assert [name for name in layers if any(True for _ in layers[name].parameters())] == [
        *("new_source", "new_norm0", "new_layer1", "new_norm1", "new_classifier")
    ]
    deviations = {"new_source": wide.features**-0.5, "new_layer1": (2 / 300) ** 0.5, "new_classifier": 0.01}
    for name, deviation in deviations.items():
        layer = layers[name]
        assert float(layer.weight.detach().std()) == pytest.approx(deviation, rel=0.1)  # type: ignore[operator, arg-type]
        assert not layer.bias.any()  # type: ignore[operator, union-attr]
    assert {id(p) for p in net.new_parameters()} == {id(p) for p in net.parameters() if p.requires_grad}
    batch = whole(backbone, KeptClassifier(0, "batch")).train()
    before = batch.head.get_submodule("new_norm0").running_mean.clone()  # type: ignore[operator, union-attr]
    batch(torch.randn(4, 3, 16, 16))
    assert not torch.equal(batch.head.get_submodule("new_norm0").running_mean, before)  # type: ignore[arg-type]
    assert not batch.head.get_submodule("fc").training


@pytest.mark.slow
@pytest.mark.parametrize(
    ("make", "size"), [(torchvision.models.alexnet, 64), (partial(timm.create_model, "mobilenetv3_small_050"), 32)]
)
def test_heads_with_more_layers_and_with_a_convolution_that_classifies(
    make: Callable[[], nn.Module], size: int
) -> None:
    net = Backbone(make().eval(), InputSpec(size, (0.5,) * 3, (0.5,) * 3), "net")  # type: ignore[arg-type]
    for classifier in ("kept", "random"):
        answers = compact(whole(net, KeptClassifier(1, "l2", classifier)))  # type: ignore[arg-type]
        x = torch.randn(2, 3, size, size)
        with torch.no_grad():
            folded = answers.for_inference()
            assert torch.allclose(folded(x), answers(x), atol=1e-4)
            assert torch.allclose(pack(folded)(x), answers(x), atol=1e-4)


def test_a_head_that_classifies_before_it_pools_is_refused() -> None:
    squeeze = torchvision.models.squeezenet1_1().eval()
    with pytest.raises(TopError, match="a head that pools before it classifies is needed"):
        whole(Backbone(squeeze, InputSpec(64, (0.5,) * 3, (0.5,) * 3), "squeeze"), KeptClassifier())  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"layers": 4}, "layers: are 0 to 3, but there are 4"),
        ({"layers": "1"}, "layers: input should be a valid integer"),
        ({"norm": "group"}, "l2"),
        ({"classifier": "lost"}, "kept"),
        ({"wide": 1}, "plan.top.wide: this nettailor knows no such part of a kept_classifier top"),
    ],
)
def test_a_description_of_another_top_is_refused(fields: dict[str, object], said: str) -> None:
    tree = {"kind": "kept_classifier", "layers": 1, "norm": "l2", "classifier": "kept"}
    assert read_top(tree, File("task.json")) == KeptClassifier()
    with pytest.raises(FileError, match=said):
        read_top(tree | fields, File("task.json"))
    assert replace(KeptClassifier(), layers=0).layers == 0
