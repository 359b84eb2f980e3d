"""Training from scratch: the backbone's architecture, none of its weights."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from blocks import Backbone, InputSpec
from blocks.counting import tensors_of
from nettailor.data.task import Task
from nettailor.errors import UsageError
from nettailor.jobs.recipe import Recipe
from nettailor.methods._protocol import Context
from nettailor.methods.scratch import METHOD, random_net
from nettailor.training.config import TeacherConfig
from nettailor.training.run import Run


def test_nothing_of_the_backbone_s_weights_is_left_and_all_of_its_architecture(backbone: Backbone) -> None:
    before = {name: tensor.clone() for name, tensor in backbone.state_dict().items()}
    torch.manual_seed(0)
    net, twin = random_net(backbone, 5), backbone.teacher(5)
    assert net.cost().macs == twin.network_cost().macs
    assert net.cost().params == twin.network_cost().params
    own = net.task_tensors()
    assert sum(tensor.numel() for tensor in own.values()) == sum(t.numel() for t in tensors_of(twin).values())
    for layer, block in enumerate(backbone.blocks, 1):
        for name, pretrained in block.named_parameters():
            assert not torch.equal(net.blocks[str(layer)].get_parameter(name), pretrained), name
    assert all(torch.equal(tensor, before[name]) for name, tensor in backbone.state_dict().items())
    assert all(parameter.requires_grad for parameter in net.parameters())


def test_it_learns_and_the_seed_decides(backbone: Backbone, task: Task) -> None:
    def trained(seed: int) -> tuple[dict[str, Tensor], dict[str, float]]:
        recipe = Recipe(method=METHOD.settings(name="scratch"), teacher=TeacherConfig(lr=0.01, epochs=2, batch=16))
        context = Context(recipe, backbone, task, Run(seed), None, "")  # type: ignore[arg-type]
        done = METHOD.train(context)
        assert done.teacher is None
        return done.net.task_tensors(), done.epochs

    one, again, other = trained(0), trained(0), trained(1)
    assert one[1] == {"scratch": 2}
    assert all(torch.equal(tensor, again[0][name]) for name, tensor in one[0].items())
    assert not all(torch.equal(tensor, other[0][name]) for name, tensor in one[0].items())


def test_as_long_as_fine_tuning_and_sized_like_no_other() -> None:
    recipe = Recipe().with_method("scratch")
    assert METHOD.stages(recipe) == {"scratch": recipe.teacher.epochs}
    assert METHOD.sized_like is None


def test_a_layer_without_a_random_start_is_refused() -> None:
    class Scaled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scale = nn.Parameter(torch.ones(1))

        def forward(self, x: Tensor) -> Tensor:
            return x * self.scale

    def unit() -> nn.Module:
        return nn.Sequential(nn.Conv2d(4, 4, 3, padding=1), nn.ReLU())

    layers = [nn.Conv2d(3, 4, 3), unit(), unit(), Scaled(), unit(), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    spec = InputSpec(16, (0.5, 0.5, 0.5), (0.25, 0.25, 0.25))
    backbone = Backbone(nn.Sequential(*layers, nn.Linear(4, 2)), spec, "scaled")
    with pytest.raises(UsageError, match=r"scratch: .* belongs to no layer that knows its random start; this backbone"):
        random_net(backbone, 2)
