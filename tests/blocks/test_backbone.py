"""The backbone: what it says of its pieces, what teachers copy, and what heads share."""

from __future__ import annotations

import pytest
import torch

from blocks import Backbone, compact, count_macs
from blocks.counting import count_params, tensors_of
from tests import tiny


def test_it_is_frozen_and_its_shapes_are_those_of_its_activations(backbone: Backbone) -> None:
    assert not backbone.training
    assert not any(parameter.requires_grad for parameter in backbone.parameters())
    x = torch.randn(2, 3, 16, 16)
    *activations, logits = backbone.activations(x)
    assert [tuple(a.shape[1:]) for a in activations] == backbone.shapes
    assert len(activations) == backbone.depth + 1
    assert logits.shape == (2, backbone.classes) == (2, 7)
    assert torch.equal(backbone(x), logits)
    assert backbone.features == backbone.shapes[-1][0]


def test_what_tasks_share_is_everything_but_the_source_classifier(backbone: Backbone) -> None:
    shared = backbone.tensors()
    left = tensors_of(backbone).values()
    classifier = backbone.features * backbone.classes + backbone.classes
    assert count_params(shared.values()) == count_params(left) - classifier == backbone.cost.params
    assert "fc.weight" not in shared
    assert {"conv1.0.weight", "layer1.0.conv1.weight"} <= shared.keys(), "names are the original model's"
    network = backbone.network_cost()
    assert network.params == count_params(left)
    assert network.macs == count_macs(backbone, torch.zeros(1, 3, 16, 16))
    assert network.macs - backbone.cost.macs == backbone.features * backbone.classes


def test_a_teacher_is_a_trainable_copy_that_shares_nothing(backbone: Backbone) -> None:
    teacher = backbone.teacher(3)
    own = {tensor.data_ptr() for tensor in teacher.state_dict().values()}
    assert not own & {tensor.data_ptr() for tensor in backbone.state_dict().values()}
    assert all(parameter.requires_grad for parameter in teacher.parameters())
    x = torch.randn(2, 3, 16, 16)
    with torch.no_grad():
        *ours, logits = teacher.eval().activations(x)
        *theirs, _ = backbone.activations(x)
    assert logits.shape == (2, 3)
    assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True)), "only the classifier is new"


def test_a_site_is_where_a_proxy_reads_and_writes(backbone: Backbone) -> None:
    site = backbone.site(1, 3)
    assert (site.source, site.target, site.width) == (backbone.shapes[1], backbone.shapes[3], backbone.widths[2])


@pytest.mark.parametrize("tuned_from", [0, 1, 4, 7, 8])
def test_a_teacher_trains_from_a_layer_up_and_keeps_statistics_below(tuned_from: int) -> None:
    backbone = tiny.tiny_backbone()
    teacher = backbone.teacher(3, tuned_from).train()
    start = {name: tensor.clone() for name, tensor in teacher.state_dict().items()}
    optimizer = torch.optim.SGD([p for p in teacher.parameters() if p.requires_grad], 0.1)
    teacher(torch.randn(8, 3, 16, 16)).square().sum().backward()
    optimizer.step()
    frozen = {f"blocks.{number}." for number in range(tuned_from - 1)} | ({"stem."} if tuned_from else set())
    for name, tensor in teacher.state_dict().items():
        stays = name.startswith(tuple(frozen))
        assert torch.equal(tensor, start[name]) == stays, name
    net = compact(teacher, backbone)
    assert net.plan.tuned_from == tuned_from
    x = torch.randn(2, 3, 16, 16)
    with torch.no_grad():
        assert torch.equal(net(x), teacher.eval()(x))
    untuned = sum(tensor.numel() for name, tensor in tensors_of(teacher).items() if name.startswith(tuple(frozen)))
    assert count_params(net.task_tensors().values()) == count_params(tensors_of(teacher).values()) - untuned
