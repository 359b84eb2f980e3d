"""A task owns what the policy says of every kind of norm, wherever it lies; the rest stays the backbone's own object."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import timm
import torch
from timm.layers import BatchNormAct2d, GroupNormAct, LayerNorm2d, RmsNorm2d
from torch import Tensor, fx, nn
from torchvision.ops import FrozenBatchNorm2d

from blocks import Backbone, InputSpec, Plan, TailoredNet
from blocks.layer_types import is_norm
from blocks.norms import own_norms
from blocks.trace import extract, trace

NORMS: list[tuple[str, Callable[[], nn.Module], int, int]] = [  # tensors that a task owns under stats, under affine
    ("batch", lambda: nn.BatchNorm2d(8), 2, 4),
    ("batch with activation", lambda: BatchNormAct2d(8), 2, 4),
    ("batch without affine", lambda: nn.BatchNorm2d(8, affine=False), 2, 2),
    ("batch without statistics", lambda: nn.BatchNorm2d(8, track_running_stats=False), 0, 2),
    ("instance", lambda: nn.InstanceNorm2d(8, affine=True), 0, 2),
    ("instance with statistics", lambda: nn.InstanceNorm2d(8, affine=True, track_running_stats=True), 2, 4),
    ("group", lambda: nn.GroupNorm(2, 8), 0, 2),
    ("group with activation", lambda: GroupNormAct(8, 2), 0, 2),
    ("layer", lambda: LayerNorm2d(8), 0, 2),
    ("rms", lambda: RmsNorm2d(8), 0, 1),
    ("frozen", lambda: FrozenBatchNorm2d(8), 0, 0),
]


class Inner(nn.Module):
    """A module that timm traces as one: its norm lies deeper than the graph shows."""

    def __init__(self, norm: nn.Module) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(8, 8, 1), norm

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.conv(x))


def segment_of(norm: nn.Module) -> fx.GraphModule:
    model = nn.Sequential(nn.Conv2d(3, 8, 3), norm)
    graph = trace(model, torch.zeros(2, 3, 8, 8)).graph
    nodes = list(graph.nodes)
    return extract(model, nodes[0], nodes[-2])


@pytest.mark.parametrize("policy", ["source", "stats", "affine"])
@pytest.mark.parametrize(("build", "stats", "affine"), [row[1:] for row in NORMS], ids=[row[0] for row in NORMS])
def test_what_a_task_owns_of_each_kind_of_norm(
    build: Callable[[], nn.Module], stats: int, affine: int, policy: str
) -> None:
    assert is_norm(build())
    segment = segment_of(build())
    segment.requires_grad_(False)
    shared = {id(t) for t in segment.state_dict(keep_vars=True).values()}
    owned, norms = own_norms(segment, policy)  # type: ignore[arg-type]
    mine = [t for t in owned.state_dict(keep_vars=True).values() if id(t) not in shared and t.is_floating_point()]
    assert len(mine) == {"source": 0, "stats": stats, "affine": affine}[policy]
    assert sum(t.requires_grad for t in mine) == (affine - stats if policy == "affine" else 0)
    assert len(norms) == bool(mine)
    assert not any(p.requires_grad for p in segment.parameters())


def test_a_norm_inside_a_module_that_is_traced_as_one() -> None:
    segment = segment_of(nn.Identity())
    inner = Inner(nn.BatchNorm2d(8))
    segment.add_submodule("1", inner)
    segment.requires_grad_(False)
    shared = {id(t) for t in segment.state_dict(keep_vars=True).values()}
    owned, norms = own_norms(segment, "affine")
    mine = {name for name, t in owned.state_dict(keep_vars=True).items() if id(t) not in shared}
    assert mine == {
        f"1.norm.{name}" for name in ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
    }
    assert norms == [owned.get_submodule("1").norm]
    assert owned.get_submodule("1").conv.weight is inner.conv.weight


@pytest.mark.parametrize("policy", ["source", "stats", "affine"])
@pytest.mark.parametrize("name", ["resnet10t", "convnext_zepto_rms"])
def test_training_leaves_every_tensor_of_the_backbone_as_it_was(name: str, policy: str) -> None:
    torch.manual_seed(0)
    backbone = Backbone(timm.create_model(name), InputSpec(64, (0.5,) * 3, (0.25,) * 3), name)
    before = {key: tensor.clone() for key, tensor in backbone.state_dict().items()}
    student = TailoredNet(backbone, 5, Plan(skips=1, batch_norm=policy)).train()  # type: ignore[arg-type]
    optimizer = torch.optim.SGD([p for p in student.parameters() if p.requires_grad], lr=0.01)
    for _ in range(2):
        optimizer.zero_grad()
        student(torch.rand(4, 3, 64, 64)).square().mean().backward()
        optimizer.step()
    after = backbone.state_dict()
    assert any("num_batches_tracked" in key for key in after) == ("resnet" in name)
    assert [key for key in after if not torch.equal(after[key], before[key])] == []


def test_what_normalises_and_convolves_is_no_norm() -> None:
    for module in timm.create_model("levit_conv_128s").modules():
        if type(module).__name__ in ("ConvNorm", "NormLinear"):
            assert not is_norm(module)
