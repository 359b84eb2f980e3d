"""The student: frozen stays frozen, every block runs once, removed paths cost nothing, local gradients stay local."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, mse_loss

from blocks import Backbone, Plan, TailoredNet
from blocks.counting import tensors_of
from nettailor.training.config import StudentConfig
from nettailor.training.losses import backward
from tests.blocks.test_fold import cut_of

POLICIES = ("source", "stats", "affine")
FORMS = ("conv1x1", "bottleneck", "identity")


def student_of(backbone: Backbone, **plan: Any) -> TailoredNet:
    return TailoredNet(backbone, 5, Plan(**plan))


def pictures(count: int = 6) -> tuple[Tensor, Tensor]:
    return torch.randn(count, 3, 16, 16), torch.arange(count) % 5


def test_with_universal_paths_alone_it_is_the_backbone(backbone: Backbone) -> None:
    student = student_of(backbone, gates="independent").eval()
    student.keep([path for path in student.paths if path.is_universal])
    with torch.no_grad():
        student.gates.logits.fill_(50.0)  # a gate of exactly 1
        x = pictures()[0]
        for mine, theirs in zip(student.run(x).activations, backbone.activations(x)[:-1], strict=True):
            assert mine is not None
            assert torch.equal(mine, theirs)


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("matching", ["local", "end_to_end"])
def test_training_changes_no_tensor_of_the_backbone(backbone: Backbone, policy: str, matching: str) -> None:
    before = {name: t.clone() for name, t in backbone.state_dict().items()}  # statistics and counters included
    teacher = backbone.teacher(5)
    student = student_of(backbone, batch_norm=policy).train()
    optimizer = torch.optim.SGD([p for p in student.parameters() if p.requires_grad], lr=0.1)
    own = {name: t.detach().clone() for name, t in student.task_tensors().items()}
    for _ in range(2):
        optimizer.zero_grad()
        backward(student, teacher, *pictures(), StudentConfig(matching=matching))
        optimizer.step()
    for name, tensor in backbone.state_dict().items():
        assert torch.equal(tensor, before[name]), name
    same = [name for name, t in student.task_tensors().items() if torch.equal(t, own[name])]
    assert same == ["gates.fade"]  # all else that the task owns has moved


@pytest.mark.parametrize("policy", POLICIES)
@torch.no_grad()
def test_folded_it_gives_the_same_and_afterwards_what_it_is_then(backbone: Backbone, policy: str) -> None:
    """No norm of stem, blocks or head is run inside; proxies are as they are."""
    student, (x, _) = student_of(backbone, batch_norm=policy, rank=2).eval(), pictures()
    for tensor in student.task_tensors().values():
        if tensor.requires_grad:
            tensor.add_(0.1 * torch.randn_like(tensor))
    wanted, normed = student.run(x), []
    parts = (*student.stem.modules(), *student.blocks.modules(), *student.head.modules())
    norms = [module for module in parts if isinstance(module, torch.nn.BatchNorm2d)]
    for norm in norms:
        norm.register_forward_hook(lambda *_: normed.append(1))
    with student.folded():
        found = student.run(x)
        student.proxies["0-1"].transform[0].weight.zero_()
        changed = student(x)
    assert norms
    assert not normed
    for mine, theirs in zip([*found.activations, found.logits], [*wanted.activations, wanted.logits], strict=True):
        torch.testing.assert_close(mine, theirs, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(changed, student(x), atol=1e-5, rtol=1e-4)
    assert not torch.allclose(changed, wanted.logits, atol=1e-3)
    assert normed
    next(student.head.parameters()).add_(1)
    assert not torch.allclose(student(x), changed, atol=1e-3)


@torch.no_grad()
def test_folded_proxies_give_the_same_and_those_that_change_are_unfolded(backbone: Backbone) -> None:
    student = student_of(backbone, skips=2, proxies="thinned", rank=2).eval()
    x, _ = pictures()
    plain = student(x)
    changing = student.proxies["2-3"].transform[-1]  # type: ignore[index, union-attr]
    with student.folded(proxies=True):
        torch.testing.assert_close(student(x), plain, atol=1e-5, rtol=1e-4)
        changing.bias += 5.0
        torch.testing.assert_close(student(x), plain, atol=1e-5, rtol=1e-4)
        student.unfold(3)
        changed = student(x)
        assert (changed - plain).abs().max() > 1e-3
    torch.testing.assert_close(changed, student(x), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("policy", POLICIES)
def test_each_policy_owns_what_it_says(backbone: Backbone, policy: str) -> None:
    student = student_of(backbone, batch_norm=policy)
    kinds = {name.rsplit(".", 1)[-1] for name in student.task_tensors() if name.startswith("blocks.")}
    statistics = {"running_mean", "running_var"}
    assert kinds == {"source": set(), "stats": statistics, "affine": statistics | {"weight", "bias"}}[policy]


@pytest.mark.parametrize("matching", ["local", "end_to_end"])
@pytest.mark.parametrize("policy", POLICIES)
def test_a_step_runs_every_frozen_block_once(backbone: Backbone, matching: str, policy: str) -> None:
    teacher = backbone.teacher(5)
    student = student_of(backbone, batch_norm=policy).train()
    calls = dict.fromkeys(student.blocks, 0)
    for name, block in student.blocks.items():
        computed = student._quick(int(name), block)  # with its norms folded where they are the backbone's
        assert (computed is block) == (policy != "source")
        computed.register_forward_hook(lambda *_, name=name: calls.__setitem__(name, calls[name] + 1))
    backward(student, teacher, *pictures(), StudentConfig(matching=matching))
    assert calls == dict.fromkeys(student.blocks, 1)


def test_no_gradient_runs_through_a_prefix_that_holds_nothing_trainable(backbone: Backbone) -> None:
    x, _ = pictures()
    frozen = student_of(backbone, batch_norm="source").train().run(x)
    owned = student_of(backbone, batch_norm="affine").train().run(x)
    assert [activity.activations[0].requires_grad for activity in (frozen, owned)] == [False, True]  # type: ignore[union-attr]


@pytest.mark.parametrize("policy", POLICIES)
def test_local_matching_gives_each_layer_the_gradient_of_its_own_error_alone(backbone: Backbone, policy: str) -> None:
    """Against the definition: a second forward in which every layer reads detached activations."""
    choice = StudentConfig(matching="local", complexity_weight=0.0, distill_weight=0.0, matching_weight=3.0)
    teacher = backbone.teacher(5).eval()
    student = student_of(backbone, batch_norm=policy, gates="softmax").train()
    x, labels = pictures()
    backward(student, teacher, x, labels, choice)
    found = {name: p.grad.clone() for name, p in student.named_parameters() if p.grad is not None}
    student.zero_grad()
    activity = student.run(x)
    cross_entropy(activity.logits, labels).backward()
    with torch.no_grad():
        targets = teacher.activations(x)
    for layer in range(1, student.depth + 1):
        read = [a.detach() for a in activity.activations if a is not None]
        row = student.gates()[layer - 1]
        total = sum(
            row[path.slot] * student.module_of(path)(read[path.source])
            for path in student.paths
            if path.target == layer
        )
        error = mse_loss(student.acts[layer - 1](total), targets[layer])
        (3.0 / (student.depth + 1) * error).backward()
    error = mse_loss(student.head(activity.activations[-1].detach()), targets[-1])
    (3.0 / (student.depth + 1) * error).backward()
    for name, parameter in student.named_parameters():
        if parameter.grad is not None:
            assert torch.allclose(found[name], parameter.grad, atol=1e-5, rtol=1e-4), name


def test_local_matching_does_not_walk_back_through_earlier_layers(backbone: Backbone) -> None:
    """x_1 sees two gradients: that of its own error, and that of all later terms together."""
    teacher = backbone.teacher(5)
    student = student_of(backbone).train()
    seen: list[int] = []
    student.acts[0].register_forward_hook(lambda _, __, out: out.register_hook(lambda g: seen.append(1)) and None)
    backward(student, teacher, *pictures(), StudentConfig(matching="local", matching_weight=1.0))
    assert len(seen) == 2


def test_end_to_end_matching_reaches_earlier_layers_and_local_does_not(backbone: Backbone) -> None:
    teacher = backbone.teacher(5).eval()
    alone = StudentConfig(complexity_weight=0.0, distill_weight=0.0, matching_weight=1.0)
    gradients = {}
    for matching in ("local", "end_to_end"):
        torch.manual_seed(0)
        student = student_of(backbone).train()
        backward(student, teacher, *pictures(), replace(alone, matching=matching))
        gradients[matching] = student.proxies["0-1"].transform[0].weight.grad.clone()
    assert not torch.allclose(gradients["local"], gradients["end_to_end"], rtol=1e-3)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("skips", [0, 1, 3, 9])
def test_any_plan_runs_forward_and_backward(backbone: Backbone, form: str, skips: int) -> None:
    student = student_of(backbone, proxies=form, skips=skips).train()
    student(pictures()[0]).sum().backward()
    assert all(p.grad is not None for p in student.proxies.parameters())
    assert len(student.paths) == sum(1 + min(skips, layer) for layer in range(1, student.depth + 1))


def test_a_removed_path_is_not_computed(backbone: Backbone) -> None:
    student = student_of(backbone).eval()
    gone = next(path for path in student.paths if path.key == "G2")
    student.keep([path for path in student.paths if path != gone])
    student.blocks["2"].register_forward_hook(lambda *_: pytest.fail("a removed block ran"))
    student(pictures()[0])


def test_several_students_share_one_backbone(backbone: Backbone) -> None:
    one, other = student_of(backbone, batch_norm="affine"), student_of(backbone, batch_norm="source")
    shared = {id(t) for t in backbone.tensors().values()}
    for student in (one, other):
        held = {id(t) for t in tensors_of(student).values()}
        own = {id(t) for t in student.task_tensors().values()}
        assert held - own <= shared
        assert not own & shared
    mine, theirs = (set(map(id, s.task_tensors().values())) for s in (one, other))
    assert not mine & theirs


def test_a_new_student_takes_nothing_of_its_backbone_to_its_own_device() -> None:
    """Its own tensors begin on the CPU; the device without memory stands for a GPU, and raises where it is to be left."""
    backbone = cut_of("mobilenetv2_100", 32).to("meta")
    student = TailoredNet(backbone, 3, Plan(rank=4))
    assert {tensor.device.type for tensor in student.head.state_dict().values()} == {"cpu", "meta"}
    assert {tensor.device.type for tensor in backbone.state_dict().values()} == {"meta"}


def test_it_prints_its_paths(backbone: Backbone) -> None:
    text = str(student_of(backbone))
    assert "x_4   = G4" in text
    assert "A1-4" in text


def test_a_price_is_said_as_a_budget_is_given(backbone: Backbone) -> None:
    student = student_of(backbone)
    for unit, name in (("macs", "MACs"), ("params", "parameters")):
        model = student.cost_model_in(unit)  # type: ignore[arg-type]
        assert model.in_words(model.limit(0.375)) == f"0.375 of the backbone's {name}"
        assert model.in_words(0.0) == f"{model.fixed / model.whole:.3g} of the backbone's {name}", "stem and head stay"
    milliseconds = replace(model, unit="latency", fixed=1.25)
    assert milliseconds.in_words(milliseconds.limit(3.5)) == "3.5 ms"
