"""Grown heads: what they compute, what they read, what they cost, and what is refused."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path as File

import pytest
import torch
import torchvision
from torch import Tensor, nn

from blocks import Backbone, CompactNet, Grown, Growth, InputSpec, NetPlan, Path, compact
from blocks.counting import count_params
from blocks.grown import KINDS
from blocks.head_layers import linear_layers
from blocks.paths import UNIVERSAL
from blocks.representation import representation
from blocks.top import TopError, describe
from blocks.whole import WholeNet
from nettailor.artifacts.description import read_top
from nettailor.backbones.load import load_backbone
from nettailor.errors import FileError
from tests.nettailor.export._files import assert_same, written

WIDTH, DEPTH, BOTH, TWICE = (
    Growth("width", 5),
    Growth("depth", 6),
    Growth("both", 7),
    Growth("twice", 6, 3),
)
ONCE = [Grown((step,)) for step in (DEPTH, WIDTH, BOTH, TWICE)]
AGAIN = [Grown((step, step)) for step in (DEPTH, WIDTH, BOTH, TWICE)]
SOME = [*ONCE, *AGAIN, Grown((WIDTH,), scaled=False), Grown((TWICE, DEPTH, WIDTH))]
SPEC = InputSpec(16, (0.5,) * 3, (0.25,) * 3)


class Hidden(nn.Module):
    """A plain stack whose head has linear layers, as AlexNet's, or flattens, or neither."""

    def __init__(self, hidden: tuple[int, ...], pools: bool = True) -> None:
        super().__init__()
        self.features = nn.Sequential(
            *(nn.Sequential(nn.Conv2d(c, 6, 3, 2, 1), nn.ReLU()) for c in (3, 6, 6)),
            nn.Conv2d(6, 6, 3, 1, 1),
            nn.ReLU(),
        )
        self.pool = nn.AdaptiveAvgPool2d(1) if pools else nn.Identity()
        sizes = (6 if pools else 24, *hidden)
        self.hidden = nn.Sequential(
            *(part for one, two in pairwise(sizes) for part in (nn.Linear(one, two), nn.ReLU()))
        )
        self.fc = nn.Linear(sizes[-1], 7)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.fc(self.hidden(self.pool(self.features(x)).flatten(1)))
        return logits


def stack(*hidden: int, pools: bool = True) -> Backbone:
    return Backbone(Hidden(hidden, pools), SPEC, "stack")


def whole(backbone: Backbone, top: Grown, tuned_from: int | None = None) -> WholeNet:
    paths = tuple(Path(layer, 0, UNIVERSAL) for layer in range(1, backbone.depth + 1))
    first = backbone.depth + 2 if tuned_from is None else tuned_from
    net = WholeNet(backbone, NetPlan(paths, 4, copied=True, gated=False, tuned_from=first, top=top))
    for name, part in net.head.named_children():
        if name.startswith(("new_scale", "grown_scale")):
            nn.init.uniform_(part.gamma, 1, 9)  # type: ignore[arg-type]
    return net.eval()


class Formula:
    """The head as it is published, put together from its own weights."""

    def __init__(self, net: WholeNet, xs: list[Tensor]) -> None:
        self.net, self.xs, backbone = net, xs, net.backbone
        features = representation(backbone)
        read: list[Tensor] = []
        handles = [
            backbone.head.get_submodule(path).register_forward_pre_hook(lambda _, given: read.append(given[0]))
            for path in linear_layers(backbone)
        ]
        self.h = features(xs[-1])
        for handle in handles:
            handle.remove()
        self.below, self.top = [xs[-3], xs[-2], *read][-2:]

    def layer(self, name: str) -> nn.Module:
        children = dict(self.net.head.named_children())
        return children.get(f"new_{name}") or children[f"grown_{name}"]

    def n(self, name: str, v: Tensor) -> Tensor:
        top = self.net.plan.top
        assert isinstance(top, Grown)
        if not top.scaled:
            return v
        gamma = self.layer(f"scale_{name}").gamma
        return gamma * v / v.norm(dim=1, keepdim=True).clamp(min=1e-8)

    def u(self, name: str, x: Tensor) -> Tensor:
        return self.layer(name)(x).relu()

    def classify(self, *branches: Tensor) -> Tensor:
        logits: Tensor = self.layer("classifier")(torch.cat(branches, 1))
        return logits

    def logits(self, kind: str) -> Tensor:
        def pooled(x: Tensor) -> Tensor:
            return x.mean((2, 3)) if x.ndim == 4 else x

        if kind == "depth":
            return self.classify(self.n("above1", self.u("above1", self.n("h", self.h))))
        read = self.top
        if kind == "twice":
            new = self.u("below1", self.below)
            read = torch.cat([read, new if read.ndim == new.ndim else pooled(new)], 1)
        branches = self.n("h", self.h), self.n("beside1", pooled(self.u("beside1", read)))
        if kind == "both":
            return self.classify(self.n("above1", self.u("above1", torch.cat(branches, 1))))
        return self.classify(*branches)


@pytest.mark.parametrize("scaled", [True, False])
@pytest.mark.parametrize("step", [DEPTH, WIDTH, BOTH, TWICE], ids=lambda step: step.kind)
@pytest.mark.parametrize("hidden", [None, (9,), (10, 9), (11, 10, 9)], ids=str)
@torch.no_grad()
def test_its_logits_are_those_of_its_formula(
    backbone: Backbone, hidden: tuple[int, ...] | None, step: Growth, scaled: bool
) -> None:
    used = backbone if hidden is None else stack(*hidden)
    net, x = whole(used, Grown((step,), scaled)), torch.randn(3, 3, 16, 16)
    xs = net.activations(x)
    assert torch.allclose(xs[-1], Formula(net, xs[:-1]).logits(step.kind), atol=1e-5)


@pytest.mark.parametrize("top", SOME, ids=lambda top: "-".join(step.kind for step in top.steps) + str(top.scaled))
@pytest.mark.parametrize("hidden", [None, (9,)], ids=str)
@torch.no_grad()
def test_compact_folded_and_shared_it_answers_the_same(
    backbone: Backbone, hidden: tuple[int, ...] | None, top: Grown
) -> None:
    used = backbone if hidden is None else stack(*hidden)
    net, x = whole(used, top), torch.randn(2, 3, 16, 16)
    small = compact(net)
    assert torch.equal(small(x), net(x))
    assert torch.allclose(small.for_inference()(x), small(x), atol=1e-4 * float(small(x).abs().max()))
    for layer in (0, *range(used.depth - 2, used.depth + 1)):
        xs = small.advance({0: small.stem(x)}, 0, layer)
        assert torch.equal(small.forward_from({number: xs[number] for number in small.reads(layer)}, layer), net(x))
    names = {name.split(".")[1] for name in small.task_tensors()}
    assert all(name.startswith(("new_", "grown_")) for name in names), "all else is the backbone's"
    assert sum(top.branches(used).values()) == small.head.new_classifier.in_features  # type: ignore[union-attr]
    assert describe(top, used).startswith("grown by ")


def test_the_published_reading_is_kept(backbone: Backbone) -> None:
    reads = {
        (None, "depth"): (6,),
        (None, "width"): (5, 6),
        (None, "both"): (5, 6),
        (None, "twice"): (4, 5, 6),
        (1, "depth"): (3,),
        (1, "width"): (3,),
        (1, "twice"): (2, 3),
        (2, "twice"): (3,),
        (2, "both"): (3,),
    }
    backbones = {None: backbone, 1: stack(9), 2: stack(10, 9)}
    for (hidden, kind), wanted in reads.items():
        (top,) = [top for top in ONCE if top.steps[0].kind == kind]
        assert top.reads(backbones[hidden]) == wanted, (hidden, kind)


@torch.no_grad()
def test_the_old_top_layer_never_sees_the_new_units(backbone: Backbone) -> None:
    for used in (backbone, stack(10, 9)):
        net, x = whole(used, Grown((TWICE,))), torch.randn(2, 3, 16, 16)
        net.head.new_beside1.weight.abs_()  # type: ignore[union-attr, operator]  # so that none of them is dead
        before, logits = net.activations(x)[:-1], net(x)
        seen: list[Tensor] = []
        net.head.new_scale_h.register_forward_pre_hook(lambda _, given, seen=seen: seen.append(given[0]))  # type: ignore[union-attr, operator]
        net(x)
        net.head.new_below1.weight.add_(1)  # type: ignore[union-attr, operator]
        assert not torch.equal(net(x), logits)
        assert torch.equal(seen[0], seen[1])
        assert all(torch.equal(one, two) for one, two in zip(before, net.activations(x)[:-1], strict=True))


@torch.no_grad()
def test_branches_begin_with_the_length_that_was_set(backbone: Backbone) -> None:
    net = WholeNet(backbone, whole(backbone, Grown((WIDTH,))).plan).eval()
    seen: list[Tensor] = []
    net.head.new_classifier.register_forward_pre_hook(lambda _, given: seen.append(given[0]))  # type: ignore[union-attr, operator]
    xs = [torch.randn(3, *backbone.shapes[number]) for number in net.head_reads]
    net.head(*xs)
    old, new = seen[0].split([16, 5], 1)
    assert torch.allclose(old.norm(dim=1), torch.tensor(10.0))
    assert torch.allclose(new.norm(dim=1), torch.tensor(10.0))
    net.head.new_beside1.bias.zero_()  # type: ignore[union-attr, operator]
    net.head(torch.zeros_like(xs[0]), xs[1])
    assert torch.equal(seen[1].split([16, 5], 1)[1], torch.zeros(3, 5)), "a vector of zeros stays one"


@torch.no_grad()
def test_without_scales_it_is_plain_concatenation(backbone: Backbone) -> None:
    net, x = whole(backbone, Grown((WIDTH,), scaled=False)), torch.randn(2, 3, 16, 16)
    assert not any("scale" in name for name in net.state_dict())
    xs = net.activations(x)
    h, units = representation(backbone)(xs[-2]), net.head.new_beside1(xs[-3]).relu().mean((2, 3))  # type: ignore[operator]
    assert torch.allclose(xs[-1], net.head.new_classifier(torch.cat([h, units], 1)), atol=1e-6)  # type: ignore[operator]


def test_the_embedded_backbone_with_64_units_beside_its_top() -> None:
    backbone = load_backbone("resnet34_tiny")
    paths = tuple(Path(layer, 0, UNIVERSAL) for layer in range(1, backbone.depth + 1))
    plan = NetPlan(paths, 10, copied=True, gated=False, tuned_from=18, top=Grown((Growth("width", 64),)))
    net = compact(WholeNet(backbone, plan))
    assert sum(tensor.numel() for tensor in net.task_tensors().values()) == 75_914
    assert net.cost().macs - backbone.cost.macs - (128 + 64) * 10 == 294_912
    assert net.cost().params == backbone.cost.params + 75_914


def test_alexnet_gets_the_published_units() -> None:
    with torch.device("meta"):
        model = torchvision.models.alexnet(num_classes=10)
    model = model.to_empty(device="cpu")
    for tensor in model.parameters():
        tensor.data.zero_()
    backbone = Backbone(model, InputSpec(64, (0.5,) * 3, (0.5,) * 3), "alexnet")
    from nettailor.methods import find

    method = find("grow_twice")
    top = method._top(method.settings(name="grow_twice"), backbone)  # type: ignore[attr-defined]
    with torch.device("meta"):
        head = top.build(backbone, 5)
    assert tuple(head.new_below1.weight.shape) == (1024, 9216), "beside fc6"
    assert tuple(head.new_beside1.weight.shape) == (2048, 4096 + 1024), "beside fc7"
    assert head.new_classifier.in_features == 4096 + 2048
    assert linear_layers(backbone) == ("classifier.1", "classifier.4")


def test_a_head_at_which_nothing_can_grow_is_refused() -> None:
    flattens = stack(pools=False)
    for top in ONCE:
        with pytest.raises(TopError, match="neither pools positions nor has linear layers"):
            top.build(flattens, 3)
    beside_a_linear_layer = Grown((WIDTH,)).build(stack(9, pools=False), 3)
    assert beside_a_linear_layer.new_beside1.in_features == 24  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("tree", "said"),
    [
        ({"steps": []}, "steps"),
        ({"steps": [{"kind": "sideways", "units": 3}]}, r"steps\.0\.kind"),
        ({"steps": [{"kind": "width", "units": 0}]}, "1 to 65536 units can be grown"),
        ({"steps": [{"kind": "width", "units": 3, "below": 2}]}, "2 units in the layer below"),
        ({"steps": [{"kind": "twice", "units": 3}]}, "0 units in the layer below"),
        ({"steps": [{"kind": "width", "units": 3}] * 9}, "1 to 8 steps"),
        ({"steps": [{"kind": "both", "units": 3}, {"kind": "twice", "units": 3, "below": 1}]}, "has grown in depth"),
        ({"steps": [{"kind": "width", "units": 3, "gate": 1}]}, r"plan\.top\.steps\.0\.gate: .*update nettailor"),
        ({"steps": [{"kind": "width", "units": 3}], "norm": "l1"}, r"plan\.top\.norm: .*update nettailor"),
        ({"steps": [{"kind": "width", "units": "3"}]}, r"steps\.0\.units"),
    ],
)
def test_a_plan_that_this_version_does_not_know_is_refused(tree: dict[str, object], said: str) -> None:
    with pytest.raises(FileError, match=said):
        read_top({"kind": "grown", **tree}, File("task.json"))


def test_kinds_are_the_methods(backbone: Backbone) -> None:
    from nettailor import methods

    assert {f"grow_{kind}" for kind in KINDS} == {name for name in methods.names() if name.startswith("grow_")}
    assert read_top(
        {"kind": "grown", "steps": [{"kind": "twice", "units": 6, "below": 3}], "scaled": True}, File()
    ) == Grown((TWICE,))


@pytest.mark.slow
@pytest.mark.parametrize("to", ["torch", "onnx"])
@pytest.mark.parametrize("top", [Grown((TWICE,)), Grown((BOTH, BOTH))], ids=["twice", "both-both"])
def test_it_is_exported(backbone: Backbone, top: Grown, to: str, tmp_path: File) -> None:
    if to == "onnx":
        pytest.importorskip("onnxruntime")
        pytest.importorskip("onnxscript")
    net: CompactNet = compact(whole(backbone, top))
    assert_same(net, written(net, to, tmp_path, raw=True), 2, raw=True)
    assert count_params(net.task_tensors().values()) > 0
