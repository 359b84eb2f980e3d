"""Layer-wise learning rates: every parameter once, each at its depth's rate, and they act."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from blocks import Backbone
from blocks.shallow import ShallowNet
from nettailor.data.task import Task
from nettailor.training.finetuning import finetune
from nettailor.training.layerwise import layerwise_groups
from nettailor.training.loop import parameter_groups
from nettailor.training.run import Run
from tests.nettailor.conftest import TEACHER


def test_rates_go_down_from_the_head_to_the_stem(backbone: Backbone) -> None:
    for net, head, depth in (
        (backbone.teacher(4), "head", 6),
        (ShallowNet(backbone, 3, 4).requires_grad_(True), "classifier", 3),
    ):
        groups = layerwise_groups(net, 0.1, 0.02, 0.5)
        rates = {id(p): group["lr"] for group in groups for p in group["params"]}
        decays = {id(p): group["weight_decay"] for group in groups for p in group["params"]}
        parameters = list(net.parameters())
        assert sum(len(group["params"]) for group in groups) == len(parameters) == len(rates)
        assert all(decays[id(p)] == (0.02 if p.ndim > 1 else 0.0) for p in parameters)
        where = {head: 0, "stem": depth + 1, **{f"blocks.{place}": depth - place for place in range(depth)}}
        for name, below in where.items():
            found = {rates[id(p)] for p in net.get_submodule(name).parameters()}
            assert list(found) == [pytest.approx(0.1 * 0.5**below)], name


def test_a_decay_of_one_is_none(backbone: Backbone) -> None:
    teacher = backbone.teacher(4)
    ours, plain = layerwise_groups(teacher, 0.1, 0.02, 1.0), parameter_groups(list(teacher.parameters()), 0.1, 0.02)
    assert [[id(p) for p in group["params"]] for group in ours] == [[id(p) for p in group["params"]] for group in plain]
    assert [group["lr"] for group in ours] == [0.1, 0.1]


def test_a_teachers_first_layers_learn_less_where_the_recipe_says_so(backbone: Backbone, task: Task) -> None:
    moved = {}
    for decay in (1.0, 0.3):
        teacher = finetune(backbone, task, replace(TEACHER, layer_decay=decay), Run())
        pairs = zip(teacher.stem.parameters(), backbone.stem.parameters(), strict=True)
        moved[decay] = max(float((ours - theirs).abs().max()) for ours, theirs in pairs)
    assert 0 < moved[0.3] < 0.05 * moved[1.0]
    assert torch.isfinite(torch.tensor(moved[0.3]))
