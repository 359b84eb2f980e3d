"""Thinned blocks: which blocks there are of, which channels stay, and that a network with some is a network like others."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import timm
import torch
import torchvision
from torch import nn

from blocks import Backbone, InputSpec, Plan, TailoredNet, compact, count_macs
from blocks.chosen_channels import ChosenChannels
from blocks.counting import count_params, params_of, tensors_of
from blocks.proxies import Proxy, form_for
from blocks.thinned import PARTS, ChannelChoice, Thinnable
from blocks.warm_start import warm_start
from nettailor.pruning.graph import BlockGraph
from tests import tiny

SIZE = 64


def backbone_of(model: nn.Module) -> Backbone:
    torch.manual_seed(0)
    for module in model.modules():  # fresh norms do nothing, and some begin at zero
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.uniform_(module.running_mean, -0.2, 0.2)  # type: ignore[arg-type]
    return Backbone(model, InputSpec(SIZE, (0.5,) * 3, (0.25,) * 3), "model")


@pytest.fixture(scope="module")
def inverted() -> Backbone:
    """Inverted residuals: an expansion, a depthwise convolution, a projection; five strides, residual or not."""
    return backbone_of(timm.create_model("mobilenetv2_035"))


def layer_with(backbone: Backbone, adds_input: bool) -> int:
    """A layer whose block can be thinned, and which adds its input to itself or not."""
    found = [backbone.site(layer - 1, layer).beside for layer in range(1, backbone.depth + 1)]
    return next(number for number, each in enumerate(found, 1) if each is not None and each.adds_input == adds_input)


def rows(x: torch.Tensor) -> torch.Tensor:
    return x.permute(0, 2, 3, 1).flatten(0, 2).double()


@pytest.mark.parametrize(
    ("model", "thinnable"),
    [
        (lambda: timm.create_model("mobilenetv2_035"), {"blocks.1.0", "blocks.1.1", "blocks.6.0"}),
        (lambda: timm.create_model("tf_efficientnet_lite0"), {"blocks.1.0", "blocks.1.1", "blocks.6.0"}),
        (lambda: torchvision.models.resnet50(), {"layer1.1", "layer4.2"}),
        (lambda: timm.create_model("resnet10t"), set()),
        (lambda: timm.create_model("efficientnet_b0"), set()),  # squeeze and excitation
        (lambda: timm.create_model("convnext_atto"), set()),
    ],
)
def test_a_block_is_thinned_where_it_is_a_chain_of_plain_layers(
    model: Callable[[], nn.Module], thinnable: set[str]
) -> None:
    backbone = backbone_of(model())
    found = {
        name for layer, name in enumerate(backbone.block_names, 1) if backbone.site(layer - 1, layer).beside is not None
    }
    assert thinnable <= found
    assert found or not thinnable
    assert not found & {"blocks.0.0", "layer1.0", "layer2.0"}  # depthwise first; another shortcut than the input
    if not thinnable:
        assert not found


@pytest.mark.parametrize(
    ("wanted", "cheap", "dear"),
    [
        ("thinned", "thinned", "thinned"),
        ("auto", "thinned", "thinned"),
        ("pointwise", "conv1x1", "bottleneck"),
        ("conv1x1", "conv1x1", "conv1x1"),
    ],
)
def test_which_form_stands_beside_an_inverted_residual(inverted: Backbone, wanted: str, cheap: str, dear: str) -> None:
    """By whether a conv1x1 is cheap or dear beside the block; from farther back nothing is thinned."""
    layer = layer_with(inverted, adds_input=True)
    near, far = inverted.site(layer - 1, layer), inverted.site(layer - 2, layer)
    assert near.beside is not None
    assert near.beside.expands
    assert [form_for(wanted, near, macs) for macs in (10**12, 1)] == [cheap, dear]
    assert far.beside is None
    assert "thinned" not in {form_for(wanted, far, macs) for macs in (10**12, 1)}


def test_beside_a_narrower_inside_auto_thins_where_a_convolution_is_dear() -> None:
    backbone = backbone_of(torchvision.models.resnet50())
    site = backbone.site(1, 2)
    assert site.beside is not None
    assert not site.beside.expands
    assert [form_for("auto", site, macs) for macs in (10**12, 1)] == ["conv1x1", "thinned"]


@pytest.mark.parametrize("adds_input", [True, False])
@pytest.mark.parametrize(("form", "part"), [("thinned", 0.25), ("thinned_half", 0.5), ("thinned_three_quarters", 0.75)])
def test_it_costs_its_part_of_its_block(inverted: Backbone, form: str, part: float, adds_input: bool) -> None:
    layer = layer_with(inverted, adds_input)
    site = inverted.site(layer - 1, layer)
    thin = Proxy(form, site)
    x = torch.zeros(2, *site.source)
    assert thin(x).shape == (2, *site.target)
    assert count_macs(thin, x[:1]) == pytest.approx(part * inverted.block_costs[layer - 1].macs, rel=0.02)


def test_what_a_task_adds_inside_it_is_no_work_per_picture(inverted: Backbone) -> None:
    plain, ranked = (TailoredNet(inverted, 4, Plan(skips=1, proxies="thinned", rank=rank)) for rank in (0, 2))
    added = [name for name in ranked.task_tensors() if name.startswith("proxies.") and name.endswith(".down")]
    assert added
    assert [ranked.costs[path].macs for path in ranked.paths] == [plain.costs[path].macs for path in plain.paths]
    assert ranked.cost().macs == plain.cost().macs


@pytest.mark.parametrize("rank", [0, 2])
def test_what_is_the_tasks_in_it_and_what_stays_the_backbones(inverted: Backbone, rank: int) -> None:
    """The kernel of the expansion is the backbone's own tensor and frozen; everything else is the task's, and trains."""
    layer = layer_with(inverted, adds_input=True)
    site = inverted.site(layer - 1, layer, rank)
    thin = Proxy("thinned", site)
    assert site.beside is not None
    kernel = site.beside.block.get_submodule(site.beside.layers[0]).weight
    shared = {id(tensor) for tensor in (*inverted.parameters(), *inverted.buffers())}
    own = {name: tensor for name, tensor in tensors_of(thin).items() if id(tensor) not in shared}
    assert [tensor for tensor in thin.parameters() if not tensor.requires_grad] == [kernel]
    assert len(own) == len(tensors_of(thin)) - 1
    first = thin.transform[0]  # type: ignore[index]
    assert [name for name, _ in first.named_parameters()] == (["up", "down"] if rank else []) + ["convolution.weight"]
    assert params_of([thin]) == count_params(own.values()) + kernel.numel() * PARTS["thinned"]  # type: ignore[operator]
    assert params_of([thin, site.beside.block]) == count_params(own.values()) + params_of([site.beside.block])


@pytest.mark.parametrize("adds_input", [True, False])
@torch.no_grad()
def test_the_channels_that_a_block_needs_are_found_and_then_it_is_its_block(
    inverted: Backbone, adds_input: bool
) -> None:
    """Of a block of which three quarters of the channels reach nothing; the rest is not where it would be by default."""
    layer = layer_with(inverted, adds_input)
    site = inverted.site(layer - 1, layer)
    assert site.beside is not None
    backbone = backbone_of(timm.create_model("mobilenetv2_035"))
    last = backbone.blocks[layer - 1].get_submodule(site.beside.last)
    hidden = last.weight.shape[1]  # type: ignore[union-attr, index]
    needed = torch.arange(hidden - 1, -1, -4)[: round(PARTS["thinned"] * hidden)].sort().values
    others = torch.tensor([channel for channel in range(hidden) if channel not in set(needed.tolist())])
    last.weight[:, others] = 0  # type: ignore[union-attr, index]
    student = TailoredNet(backbone, 5, Plan(skips=1, proxies="thinned", batch_norm="stats"))
    explained = warm_start(student, lambda: torch.rand(32, 3, SIZE, SIZE).split(16))
    x = torch.randn(4, *site.source)
    block, thin = student.blocks[str(layer)], student.proxies[f"{layer - 1}-{layer}"]
    assert explained[f"A{layer - 1}-{layer}"] > 0.99
    first = thin.transform[0].weight()  # type: ignore[index, operator, union-attr]
    whole = block.get_submodule(site.beside.layers[0]).weight  # type: ignore[operator, union-attr]
    torch.testing.assert_close(first, whole[needed])  # type: ignore[index]
    difference = (thin(x) - block(x)).square().mean() / block(x).square().mean()
    assert difference < 0.02


@torch.no_grad()
def test_inner_convolutions_are_thinned_by_what_reaches_the_channels_that_stay() -> None:
    """A bottleneck: of its first convolution those channels stay that the chosen ones of its second read."""
    backbone = backbone_of(torchvision.models.resnet50())
    layer = backbone.block_names.index("layer1.1") + 1
    site = backbone.site(layer - 1, layer)
    assert site.beside is not None
    block = site.beside.block
    second, third = block.get_submodule("layer1.1.conv2"), block.get_submodule("layer1.1.conv3")
    outer, inner = torch.arange(3, 64, 4), torch.arange(2, 64, 4)
    third.weight[:, [i for i in range(64) if i not in outer]] = 0  # type: ignore[union-attr, index, operator]
    second.weight[:, [i for i in range(64) if i not in inner]] = 0  # type: ignore[union-attr, index, operator]
    choice, x = ChannelChoice(site.beside, rows), torch.rand(4, *site.source)
    choice.add(x[:2])
    choice.add(x[2:])
    thin = Proxy("thinned", site).eval()
    choice.write(thin.transform)  # type: ignore[arg-type]
    kept = [layer for layer in thin.transform if isinstance(layer, ChosenChannels)]  # type: ignore[union-attr]
    torch.testing.assert_close(kept[0].weight(), block.get_submodule("layer1.1.conv1").weight[inner])  # type: ignore[index]
    torch.testing.assert_close(kept[1].weight(), second.weight[outer][:, inner])  # type: ignore[index]
    hidden = nn.Sequential(*list(thin.transform)[:-2])  # type: ignore[call-overload]
    wanted = {}
    handle = third.register_forward_pre_hook(lambda _, given: wanted.update(read=given[0]))
    block(x)
    handle.remove()
    torch.testing.assert_close(hidden(x), wanted["read"][:, outer], atol=1e-4, rtol=1e-4)


def test_what_a_task_added_to_kernels_is_in_it(inverted: Backbone) -> None:
    layer = layer_with(inverted, adds_input=False)
    student = TailoredNet(inverted, 5, Plan(skips=1, proxies="thinned", rank=2))
    whole = inverted.site(layer - 1, layer).beside
    assert whole is not None
    first = student.blocks[str(layer)].get_submodule(whole.layers[0])
    with torch.no_grad():
        first.up.normal_()  # type: ignore[union-attr, operator]
        warm_start(student, lambda: torch.rand(16, 3, SIZE, SIZE).split(8))
        found = student.proxies[f"{layer - 1}-{layer}"].transform[0].weight()  # type: ignore[index, operator, union-attr]
        wanted, plain = (each.flatten(1) for each in (first.weight(), first.convolution.weight))  # type: ignore[operator, union-attr]
    assert all(any(torch.allclose(row, other) for other in wanted) for row in found.flatten(1))  # type: ignore[operator, union-attr]
    assert not any(torch.allclose(row, other) for row in found.flatten(1) for other in plain)  # type: ignore[operator, union-attr]


def test_a_network_with_thinned_blocks_folds_and_counts_as_any_other(inverted: Backbone) -> None:
    torch.manual_seed(1)
    student = TailoredNet(inverted, 5, Plan(skips=2, proxies="thinned"))
    warm_start(student, lambda: torch.rand(16, 3, SIZE, SIZE).split(8))
    graph = BlockGraph.of(student)
    gone = [path for path in graph.universal() if inverted.site(path.source, path.target).beside is not None]
    left = graph.without(gone)
    student.keep(left.paths)
    student.eval()
    net, x = compact(student), torch.rand(3, 3, SIZE, SIZE)
    assert {path.form for path in net.paths} == {"universal", "thinned", "conv1x1", "bottleneck"}
    torch.testing.assert_close(net(x), student(x))
    logits = net(x)
    torch.testing.assert_close(net.for_inference()(x), logits, atol=1e-4 * float(logits.abs().max()), rtol=1e-4)
    assert net.cost().macs == student.cost().macs < 0.6 * inverted.cost.macs


def test_what_it_keeps_for_gradients_is_counted_inside_it_too(
    inverted: Backbone, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A student computes proxies again in the backward pass where they would keep too much."""
    layer = layer_with(inverted, adds_input=True)
    site = inverted.site(layer - 1, layer)
    thin = Proxy("thinned", site)
    given: list[tuple[int, ...]] = []
    for part in (part for part in thin.transform if isinstance(part, (nn.Conv2d, ChosenChannels))):  # type: ignore[union-attr]
        part.register_forward_hook(lambda _, x, out: given.append(tuple(out.shape[1:])))
    thin(torch.rand(2, *site.source))
    assert thin.hidden_shapes() == given[:-1]
    assert Proxy("conv1x1", site).hidden_shapes() == []
    student = TailoredNet(inverted, 5, Plan(skips=1, proxies="thinned"))
    student.keep(path for path in student.paths if path.target == layer)
    inside, outside = (2 * 4 * sum(c * h * w for c, h, w in shapes) for shapes in (given[:-1], [site.target]))
    for kept, much in ((inside + outside, False), (inside + outside - 1, True)):
        monkeypatch.setattr("blocks.memory.KEPT_BY_PROXIES", kept)
        assert student.keeps_much() == much


def test_a_thinned_block_learns(inverted: Backbone) -> None:
    student = TailoredNet(inverted, 5, Plan(skips=1, proxies="thinned")).train()
    student(torch.rand(4, 3, SIZE, SIZE)).square().sum().backward()
    layer = layer_with(inverted, adds_input=True)
    thin = student.proxies[f"{layer - 1}-{layer}"]
    learning = [parameter for parameter in thin.parameters() if parameter.requires_grad]
    assert all(parameter.grad is not None and parameter.grad.any() for parameter in learning)


def test_the_tiny_networks_blocks_are_chains() -> None:
    backbone = tiny.tiny_backbone(32)
    assert [Thinnable.of(block) is not None for block in backbone.blocks].count(True) >= 2  # type: ignore[arg-type]
