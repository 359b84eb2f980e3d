"""Methods that train beside a frozen backbone: what is given to the optimiser is what the plan adds, and nothing else."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from blocks import Backbone, TailoredNet
from nettailor import methods
from nettailor.data.task import Task
from nettailor.jobs.recipe import Recipe
from nettailor.methods import _frozen_backbone as frozen_backbone
from nettailor.methods._frozen_backbone import FrozenBackbone
from nettailor.methods._protocol import Context
from nettailor.training.config import StudentConfig, TeacherConfig
from nettailor.training.probe import fit_probe
from nettailor.training.rates import loss_on, rates_of_few
from nettailor.training.run import Fitted, Run

NAMES = [name for name in methods.names() if isinstance(methods.find(name), FrozenBackbone)]


@pytest.mark.parametrize("name", NAMES)
def test_the_section_student_trains_all_that_is_not_the_backbones(
    name: str, backbone: Backbone, task: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[Any] = []

    def fit(*words: Any) -> None:
        given.append(words)
        words[6].fitted[name] = Fitted({}, 0.0, epochs=7)

    monkeypatch.setattr("nettailor.methods._frozen_backbone.fit_to_labels", fit)
    monkeypatch.setattr("nettailor.methods.linear.fit_probe", lambda *_: None)  # as where there is no linear classifier
    student = StudentConfig(batch=5, lr=0.25, weight_decay=0.125)
    recipe = Recipe(teacher=TeacherConfig(epochs=7), student=student).with_method(name)
    method = methods.find(name)
    nets = []
    for seed in (0, 0, 1):
        trained = method.train(Context(recipe, backbone, task, Run(seed=seed), None, ""))  # type: ignore[arg-type]
        assert trained.epochs == method.stages(recipe) == {name: 7}
        assert trained.teacher is None
        assert not any(path.slot for path in trained.net.paths), "no proxies"
        nets.append(trained.net)
    stage, net, own, groups, schedule, *_ = given[0]
    assert (stage, schedule.epochs, schedule.batch) == (name, 7, 5)
    optimised = {id(p) for group in groups for p in group["params"]}
    shared = {id(tensor) for tensor in backbone.state_dict(keep_vars=True).values()}
    assert optimised == {id(p) for p in net.parameters() if p.requires_grad} - {id(net.gates.logits)}
    assert not optimised & shared
    assert not {id(tensor) for tensor in own.values()} & shared
    assert {group["weight_decay"] for group in groups} == {0.125, 0.0}
    assert {group["lr"] for group in groups} == {0.25}
    x = torch.randn(2, 3, 16, 16)
    monkeypatch.setattr("nettailor.methods._frozen_backbone.fit_probe", lambda *_: None)
    nets = [method.train(Context(recipe, backbone, task, Run(seed=seed), None, "")).net for seed in (0, 0, 1)]  # type: ignore[arg-type]
    with torch.no_grad():
        one, same, other = (compact_net(x) for compact_net in nets)
    assert torch.equal(one, same)
    assert not torch.equal(one, other), "the seed decides where the classifier starts"


@pytest.mark.parametrize("name", ["batch_norm", "adapters"])
def test_it_begins_with_what_its_probe_reads_and_looks_for_a_rate_above_a_networks(
    name: str, backbone: Backbone, task: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[Any] = []
    fit = frozen_backbone.fit_to_labels

    def watched(stage: str, net: Any, own: Any, groups: list[Any], *rest: Any) -> None:
        kept = {key: tensor.clone() for key, tensor in net.state_dict().items()}
        begun.append((groups[0]["lr"], loss_on(net, task.val, backbone.spec), kept))
        fit(stage, net, own, groups, *rest)

    monkeypatch.setattr(frozen_backbone, "fit_to_labels", watched)
    run = Run()
    student = StudentConfig(batch=16, weight_decay=0.0)
    recipe = Recipe(teacher=TeacherConfig(epochs=1), student=student).with_method(name)
    methods.find(name).train(Context(recipe, backbone, task, run, None, ""))  # type: ignore[arg-type]
    assert [rate for rate, *_ in begun][:4] == list(rates_of_few(run.training)) == [2e-3, 8e-3, 3.2e-2, 5e-4]
    probe = fit_probe(backbone, task, run)
    assert probe is not None
    read = TailoredNet(backbone, 4, methods.find("linear").plan)  # type: ignore[attr-defined]
    probe.write(read.head, backbone.classifier_paths[0])
    assert begun[0][1] == pytest.approx(loss_on(read, task.val, backbone.spec), rel=1e-3)
    norm = next(key for key in begun[0][2] if key.endswith("running_mean"))
    assert not torch.equal(begun[0][2][norm], read.state_dict()[norm]), "the statistics are the task's"
