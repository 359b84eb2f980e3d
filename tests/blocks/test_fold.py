"""Folding: the same answers with nothing left to fold, for compact nets and for parts that only compute."""

from __future__ import annotations

import copy

import pytest
import timm
import torch
from timm.layers import StdConv2d
from torch import fx, nn

from blocks import Backbone, InputSpec, Plan, TailoredNet, compact, count_macs, fold
from blocks.adapters import Adapted
from blocks.counting import Cost, count_params, tensors_of
from blocks.fold import _Parts, fold_part
from blocks.fuse import frozen_copy
from blocks.layer_types import is_norm
from blocks.norms import POLICIES
from blocks.shallow import ShallowNet
from tests import tiny


def student_of(backbone: Backbone, **settings: object) -> TailoredNet:
    """A student whose gates, norms and additions are anything but fresh."""
    torch.manual_seed(0)
    student = TailoredNet(backbone, 5, Plan(**({"skips": 3, "proxies": "auto"} | settings)))  # type: ignore[arg-type]
    with torch.no_grad():
        student.gates.logits.normal_()
        for module in student.modules():
            if isinstance(module, nn.BatchNorm2d) and any(module is norm for norm in student._own_norms):
                module.running_mean.normal_(0, 0.1)  # type: ignore[union-attr]
                module.running_var.uniform_(0.5, 2)  # type: ignore[union-attr]
        for name, tensor in student.task_tensors().items():
            if name.rsplit(".", 1)[-1] in ("up", "beside"):
                tensor.normal_(0, 0.05)
    return student.eval()


def cut_of(name: str, size: int) -> Backbone:
    torch.manual_seed(1)
    model = timm.create_model(name)
    return Backbone(tiny.live_in(model, size), InputSpec(size, (0.5,) * 3, (0.5,) * 3), name)


def same_answers(one: nn.Module, other: nn.Module, x: torch.Tensor) -> None:
    with torch.no_grad():
        wanted, found = one(x), other(x)
    assert float((wanted - found).abs().max()) <= 1e-4 * float(wanted.abs().max())


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("gates", ["softmax", "independent"])
def test_a_folded_net_gives_the_compact_nets_answers(policy: str, gates: str) -> None:
    student = student_of(tiny.tiny_backbone(), batch_norm=policy, gates=gates, rank=2)
    student.keep(path for path in student.paths if path.key not in ("G2", "A0-1", "A1-3", "G5"))
    net = compact(student)
    folded = fold(net)
    same_answers(net, folded, torch.randn(3, 3, 16, 16))
    assert not any(is_norm(module) or isinstance(module, Adapted) for module in folded.modules())
    assert count_macs(folded, torch.zeros(1, 3, 16, 16)) == net.cost().macs


@pytest.mark.parametrize(
    ("name", "size"),
    [("resnet18", 64), ("mobilenetv2_100", 64), ("convnext_atto", 64), ("densenet121", 64), ("edgenext_xx_small", 64)],
)
def test_other_families_fold_too(name: str, size: int) -> None:
    net = compact(student_of(cut_of(name, size), batch_norm="source"))
    folded = fold(net)
    same_answers(net, folded, torch.randn(2, 3, size, size))
    assert count_macs(folded, torch.zeros(1, 3, size, size)) == net.cost().macs


def test_gates_leave_no_multiplication_behind_in_a_residual_network() -> None:
    folded = fold(compact(student_of(cut_of("resnet18", 64))))
    assert "mul" not in folded.code
    assert "alpha" in folded.code, "the shortcut is scaled while it is added"
    assert "joined" in folded.code, "proxies that read the same tensor are one convolution"


def test_proxies_may_stay_apart_as_other_runtimes_want_them() -> None:
    net = compact(student_of(cut_of("resnet18", 64)))
    apart = fold(net, join_proxies=False)
    assert "joined" not in apart.code
    assert "split" not in apart.code
    same_answers(net, apart, torch.randn(2, 3, 64, 64))


def test_an_activation_behind_a_mixture_overwrites_the_fresh_sum() -> None:
    """It is a segment of the cut, whose operations stand in the graph like any other's."""
    folded = fold(compact(student_of(cut_of("resnet18", 64))))
    acts = [folded.get_submodule(node.target) for node in folded.graph.nodes if str(node.target).startswith("act")]
    assert len(acts) == 8
    assert all(isinstance(act, nn.ReLU) and act.inplace for act in acts)


def test_a_folded_net_shares_nothing_and_leaves_the_compact_net_alone() -> None:
    backbone = tiny.tiny_backbone()
    net = compact(student_of(backbone))
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    folded = fold(net)
    with torch.no_grad():
        for tensor in folded.state_dict().values():
            tensor.add_(1)
    assert all(torch.equal(tensor, before[name]) for name, tensor in net.state_dict().items())


def test_a_convolution_that_standardises_its_kernel_is_left_alone() -> None:
    model = nn.Sequential(StdConv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 8, 3), nn.BatchNorm2d(8))
    tiny.live_in(model, 16)
    segment = fx.GraphModule(model, _Leaves().trace(model))
    folded = frozen_copy(segment)
    same_answers(segment, folded, torch.randn(2, 3, 16, 16))
    assert sum(isinstance(module, nn.BatchNorm2d) for module in folded.modules()) == 1, "only the plain one is folded"


def test_a_convolution_that_somebody_else_reads_keeps_its_norm() -> None:
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.convolution, self.norm = nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            plain = self.convolution(x)
            return self.norm(plain) + plain

    segment = fx.symbolic_trace(tiny.live_in(Two(), 16))
    same_answers(segment, frozen_copy(segment), torch.randn(2, 3, 16, 16))


def test_a_module_that_is_called_three_times_has_three_copies() -> None:
    """One of them may be scaled by a gate, the others not."""
    parts = _Parts()
    x = parts.graph.placeholder("x")
    convolution = nn.Conv2d(3, 3, 1)
    calls = [parts.call("shared", convolution, x) for _ in range(3)]
    copies = {id(parts.modules[call.target]) for call in calls}
    assert len(copies) == 3
    assert id(convolution) not in copies


class _Leaves(fx.Tracer):
    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return not isinstance(m, nn.Sequential)


def test_a_frozen_copy_computes_the_same_and_lets_gradients_through() -> None:
    backbone = cut_of("resnet18", 64)
    twin = backbone.frozen_copy()
    x = torch.randn(2, 3, 64, 64)
    for ours, theirs in zip(twin.activations(x), backbone.activations(x), strict=True):
        assert float((ours - theirs).abs().max()) <= 1e-4 * float(theirs.abs().max())
    assert not any(isinstance(module, nn.BatchNorm2d) for module in twin.modules())
    slopes = []
    for net in (twin, backbone):
        there = copy.deepcopy(x).requires_grad_(True)
        net(there).square().sum().backward()
        assert there.grad is not None
        slopes.append(there.grad)
    assert torch.allclose(*slopes, rtol=1e-2, atol=1e-3 * float(slopes[1].abs().max()))


def test_training_folds_what_is_the_backbones_and_nothing_of_the_tasks() -> None:
    backbone = cut_of("resnet18", 64)
    x = torch.randn(2, 3, 64, 64)
    student = student_of(backbone, batch_norm="source")
    with torch.no_grad():
        student.train()
        for proxy in student.proxies.values():
            proxy.eval()  # their batch statistics are another matter
        in_training = student(x)
        wanted = student.eval()(x)
    assert float((in_training - wanted).abs().max()) <= 1e-4 * float(wanted.abs().max())
    assert len(student._frozen) == backbone.depth + 1
    owning = student_of(backbone, batch_norm="affine").train()
    owning(x)
    assert owning._frozen == {}


def graph_of(folded: fx.GraphModule) -> list[tuple[object, ...]]:
    """The operations of a graph in order: what is called, with how many inputs, and shapes of the weights."""
    found: list[tuple[object, ...]] = []
    for node in folded.graph.nodes:
        called: object = node.target if node.op != "get_attr" else ""
        if node.op == "call_module":
            module = folded.get_submodule(node.target)
            shapes = [tuple(tensor.shape) for tensor in module.state_dict().values()]
            called = type(module), getattr(module, "inplace", None), getattr(module, "stride", None), shapes
        found.append((node.op, called, len(node.all_input_nodes), str(node.kwargs)))
    return found


@pytest.mark.parametrize("name", ["resnet18", "mobilenetv2_100", "convnext_atto", "densenet121"])
def test_a_teacher_runs_the_very_graph_of_a_compact_net_that_keeps_everything(name: str) -> None:
    """So their milliseconds can be compared: what is folded in one is folded in the other."""
    backbone = cut_of(name, 64)
    teacher = backbone.teacher(5).eval()
    x = torch.randn(2, 3, 64, 64)
    folded = teacher.for_inference()
    same_answers(teacher, folded, x)
    whole = compact(TailoredNet(backbone, 5, Plan(0, batch_norm="affine", rank=4)).eval())
    assert graph_of(folded) == graph_of(whole.for_inference())
    assert graph_of(folded) == graph_of(compact(teacher, backbone).for_inference())
    assert count_macs(folded, x[:1]) == teacher.network_cost().macs == whole.cost().macs


def test_every_net_gives_its_own_answers_when_it_is_folded_and_is_left_as_it_is() -> None:
    backbone = tiny.tiny_backbone()
    student = student_of(backbone, batch_norm="affine", rank=2)
    student.keep(path for path in student.paths if path.key not in ("G2", "A0-1", "A1-3", "G5"))
    x = torch.randn(3, 3, 16, 16)
    for net in (backbone, backbone.teacher(4), ShallowNet(backbone, 3, 4), student, compact(student)):
        before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
        folded = net.train().for_inference()
        same_answers(net.eval(), folded, x)
        assert not folded.training
        assert not any(is_norm(module) or isinstance(module, Adapted) for module in folded.modules())
        with torch.no_grad():
            for tensor in folded.state_dict().values():
                tensor.add_(1)
        assert all(torch.equal(tensor, before[name]) for name, tensor in net.state_dict().items())
    assert graph_of(student.for_inference()) == graph_of(compact(student).for_inference())


def test_a_student_folds_what_it_runs_where_sources_have_died() -> None:
    """Its live paths need not be closed: what reads an activation that nothing gives is left out, as in its forward."""
    student = student_of(tiny.tiny_backbone(), skips=2, gates="independent")
    student.keep(path for path in student.paths if path.target != 2 or path.key == "none")
    same_answers(student, student.for_inference(), torch.randn(2, 3, 16, 16))
    student.keep([])
    with pytest.raises(RuntimeError, match="no live path leads from the input to the output"):
        student.for_inference()


def test_a_net_counts_its_own_cost_and_tensors() -> None:
    backbone = tiny.tiny_backbone()
    teacher, shallow, student = backbone.teacher(4), ShallowNet(backbone, 3, 4), student_of(backbone, rank=2)
    x = torch.zeros(1, 3, 16, 16)
    for net in (teacher, shallow):
        assert net.task_tensors().keys() == tensors_of(net).keys()
    assert teacher.network_cost() == Cost(count_macs(teacher, x), count_params(tensors_of(teacher).values()))
    assert shallow.cost() == Cost(shallow.macs(backbone), count_params(tensors_of(shallow).values()))
    for left in (student.paths, [path for path in student.paths if path.key not in ("G2", "A0-1", "A1-3", "G5")]):
        student.keep(left)
        net = compact(student)
        assert student.cost() == Cost(net.cost().macs, net.cost().params - len(left)), "gates are not counted"


def test_a_net_of_double_precision_folds_in_double_precision() -> None:
    """What folding makes anew is of the type, and on the device, of what it replaces."""
    student = student_of(tiny.tiny_backbone(), skips=2, proxies="conv1x1").double()
    student.keep(path for path in student.paths if path.key != "G2")
    folded = student.for_inference()
    assert {tensor.dtype for tensor in folded.state_dict().values()} == {torch.double}
    x = torch.randn(2, 3, 16, 16, dtype=torch.double)
    with torch.no_grad():
        wanted = student(x)
        assert float((folded(x) - wanted).abs().max()) <= 1e-12 * float(wanted.abs().max())


def test_a_part_is_folded_as_it_is_in_the_whole() -> None:
    student = student_of(tiny.tiny_backbone(), batch_norm="affine", rank=2)
    for path in student.paths:
        module, act = student.module_of(path), student.acts[path.target - 1] if path.is_universal else None
        x = torch.randn(2, *student.backbone.shapes[path.source])
        before = x.clone()
        part = fold_part(module, act)  # type: ignore[arg-type]
        same_answers(module if act is None else nn.Sequential(module, act), part, x)
        assert torch.equal(x, before), "an activation in place never overwrites the input"
        assert not any(is_norm(layer) or isinstance(layer, Adapted) for layer in part.modules())
