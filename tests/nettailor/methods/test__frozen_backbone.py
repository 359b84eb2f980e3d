"""Methods that train beside a frozen backbone: what is given to the optimiser is what the plan adds, and nothing else."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from blocks import Backbone
from nettailor import methods
from nettailor.data.task import Task
from nettailor.jobs.recipe import Recipe
from nettailor.methods._frozen_backbone import FrozenBackbone
from nettailor.methods._protocol import Context
from nettailor.training.config import StudentConfig, TeacherConfig
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
