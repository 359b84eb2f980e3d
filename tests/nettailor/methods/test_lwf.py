"""Learning without forgetting as a method: it needs no source picture, and it forgets less."""

from __future__ import annotations

from dataclasses import replace

import torch

from blocks import Backbone
from nettailor.data.batches import evaluation_batches
from nettailor.data.task import Task
from nettailor.jobs.recipe import Recipe
from nettailor.methods._protocol import Context, Trained
from nettailor.methods.lwf import METHOD, Settings
from nettailor.training.config import TeacherConfig
from nettailor.training.run import Run

TEACHER = TeacherConfig(epochs=3, batch=16, start="fresh", lr=2e-3)


def trained(backbone: Backbone, task: Task, **settings: float) -> Trained:
    own = Settings(**settings)  # type: ignore[arg-type]
    recipe = replace(Recipe(teacher=TEACHER), method=own)
    return METHOD.train(Context(recipe, backbone, task, Run(), None, ""))  # type: ignore[arg-type]


def drift(backbone: Backbone, task: Task, made: Trained) -> float:
    """How far x_L has moved from the backbone's, in mean squares."""
    (x,) = [x for x, _ in evaluation_batches(task.train, backbone.spec, torch.device("cpu"))]
    net = made.net.eval()
    seen: list[torch.Tensor] = []
    handle = net.head.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    with torch.no_grad():
        net(x)
    handle.remove()
    return float((seen[0] - backbone.activations(x)[-2]).square().mean())


def test_without_a_source_picture_the_old_answers_hold_the_features(backbone: Backbone, task: Task) -> None:
    plain, kept = trained(backbone, task, weight=0.0), trained(backbone, task, weight=30.0)
    assert plain.beside is None
    assert kept.beside is None
    assert drift(backbone, task, kept) < drift(backbone, task, plain)


def test_its_weight_is_constant_as_published_unless_it_is_told_to_fall() -> None:
    assert (Settings().weight, Settings().schedule) == (1.0, "constant")
    assert METHOD.variants["falling"] == {"schedule": "linear"}
    METHOD.check(Recipe().with_method("lwf"))
