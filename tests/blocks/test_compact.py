"""Pruning equals masking, and nothing is left over."""

from __future__ import annotations

import pytest
import torch

from blocks import Backbone, Plan, TailoredNet, compact, count_params
from blocks.counting import tensors_of
from blocks.shallow import ShallowNet
from nettailor.pruning.graph import BlockGraph


def pruned_student(backbone: Backbone, policy: str, gates: str, removed: set[str]) -> tuple[TailoredNet, BlockGraph]:
    student = TailoredNet(backbone, 5, Plan(batch_norm=policy, gates=gates))  # type: ignore[arg-type]
    student.train()
    with torch.no_grad():
        for parameter in student.gates.parameters():
            parameter.add_(torch.randn_like(parameter))
    for _ in range(3):
        student(torch.randn(8, 3, 16, 16))  # moves the statistics that the task owns
    student.eval()
    whole = BlockGraph.of(student)
    graph = whole.without([path for path in whole.paths if path.key in removed])
    student.keep(graph.paths)
    return student, graph


@pytest.mark.parametrize("gates", ["softmax", "independent"])
@pytest.mark.parametrize("policy", ["source", "stats", "affine"])
@pytest.mark.parametrize("removed", [set(), {"G2", "A0-1"}, {"G1", "G3", "A1-4", "A0-3"}, {"G1", "A0-1"}])
def test_compact_net_equals_the_masked_student(backbone: Backbone, gates: str, policy: str, removed: set[str]) -> None:
    student, _graph = pruned_student(backbone, policy, gates, removed)
    x = torch.randn(4, 3, 16, 16)
    with torch.no_grad():
        assert torch.allclose(compact(student)(x), student(x), atol=1e-5)


def test_every_tensor_of_a_compact_net_is_used(backbone: Backbone) -> None:
    """Change any one tensor: the logits must change, or it had no business being there."""
    student, _graph = pruned_student(backbone, "affine", "independent", {"G2", "A0-3", "A1-2"})
    net = compact(student)
    x = torch.randn(4, 3, 16, 16)
    with torch.no_grad():
        before = net(x)
        for name, tensor in tensors_of(net).items():
            kept = tensor.clone()
            tensor.mul_(1.5).add_(0.1)
            assert not torch.equal(net(x), before), name
            tensor.copy_(kept)
        assert torch.equal(net(x), before)


def test_cost_counts_its_own_tensors(backbone: Backbone) -> None:
    student, _graph = pruned_student(backbone, "affine", "softmax", {"G2"})
    net = compact(student)
    by_hand = sum(t.numel() for t in [*net.parameters(), *net.buffers()] if t.is_floating_point())
    assert net.cost().params == by_hand == count_params(tensors_of(net).values())
    paths = sum(net.path_cost(path).macs for path in net.paths)
    classifier = 5 * 16
    assert net.cost().macs == paths + backbone.stem_cost.macs + backbone.head_cost.macs + classifier


@pytest.mark.parametrize("policy", ["source", "stats", "affine"])
def test_what_it_reads_of_the_backbone_is_counted_part_by_part(backbone: Backbone, policy: str) -> None:
    student, _graph = pruned_student(backbone, policy, "independent", {"G2", "A0-1"})
    net = compact(student)
    shared = net.shared_params()
    assert list(shared) == ["stem", "G1", "G3", "G4", "G5", "G6"], "the head has nothing but the classifier"
    own = sum(tensor.numel() for tensor in net.task_tensors().values())
    assert sum(shared.values()) == net.cost().params - own
    kernels = count_params(part.weight for part in backbone.blocks[2].modules() if isinstance(part, torch.nn.Conv2d))
    if policy == "affine":
        assert shared["G3"] == kernels, "norms are the task's own"
    else:
        assert shared["G3"] > kernels
    whole = compact(backbone.teacher(5), backbone)
    assert whole.shared_params() == {}


def test_a_compact_net_stays_in_eval_mode(backbone: Backbone) -> None:
    student, _graph = pruned_student(backbone, "affine", "softmax", set())
    net = compact(student).train()
    before = {name: t.clone() for name, t in tensors_of(net).items()}
    net(torch.randn(4, 3, 16, 16))
    assert all(torch.equal(t, before[name]) for name, t in tensors_of(net).items())


@pytest.mark.parametrize("kind", ["teacher", "shallow", "compact"])
def test_a_compact_net_is_where_its_network_is(backbone: Backbone, kind: str) -> None:
    """On the device without memory, which stands for a GPU: a classifier left on the CPU would answer nothing there."""
    net = {"teacher": lambda: backbone.teacher(5), "shallow": lambda: ShallowNet(backbone, 2, 5)}
    whole = (compact(backbone.teacher(5), backbone) if kind == "compact" else net[kind]()).to("meta")
    found = compact(whole, backbone.to("meta"))
    assert {tensor.device.type for tensor in tensors_of(found).values()} == {"meta"}
