"""NetTailor as published: its defaults are settings of the recipe's sections, and what the user sets lies over them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from blocks import Backbone
from nettailor.data.task import Task
from nettailor.jobs.recipe import Recipe, parse_recipe
from nettailor.methods import paper as module
from nettailor.methods._protocol import Context
from nettailor.methods.paper import METHOD, PRUNE, RATES, Settings
from nettailor.training.run import Run
from nettailor.training.stages import plan_of


def test_the_students_plan_owns_nothing_of_the_backbone_and_all_proxies_are_convolutions() -> None:
    recipe = Recipe().with_method("paper")
    plan = plan_of(recipe.student)
    assert (plan.skips, plan.proxies, plan.gates, plan.batch_norm, plan.rank) == (3, "by_block", "softmax", "source", 0)
    assert (recipe.student.complexity, recipe.student.matching, recipe.student.distill_weight) == ("paper", "local", 0)
    assert (recipe.prune.how, recipe.prune.proxies_below, recipe.prune.drop) == ("paper", 0.05, 0.5)
    METHOD.check(recipe)
    assert METHOD.stages(recipe)["prune"] == len(recipe.prune.remove) * PRUNE["epochs"]
    assert METHOD.stages(recipe)["recover"] == 0


def test_what_the_user_sets_lies_over_the_defaults() -> None:
    recipe = parse_recipe({"method": "paper", "prune": {"epochs": 2}, "student": {"matching": "end_to_end"}}, "test")
    assert (recipe.prune.epochs, recipe.prune.how) == (2, "paper")
    assert (recipe.student.matching, recipe.student.complexity) == ("end_to_end", "paper")
    assert parse_recipe({"prune": {"epochs": 2}}, "test").prune.how == "tolerance"


def test_it_trains_with_sgd_in_steps_and_retrains_at_a_tenth_of_the_rate_found(
    backbone: Backbone, task: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[object, ...]] = []
    monkeypatch.setattr(module, "search_rate", lambda *words: (asked.append(words), 0.03)[1])
    recipe = Recipe().with_method("paper")
    context = Context(recipe, backbone, task, Run(), None, "")  # type: ignore[arg-type]
    stage = METHOD.student_stage(context, backbone.teacher(4))
    assert asked[0][-1] == RATES == (0.1, 0.03, 0.01)
    assert (stage.student.lr, stage.student.gate_lr, stage.run.training) == (0.03, 0.03, Settings("paper").training)
    training = stage.run.training
    assert (training.optimizer, training.momentum, training.schedule) == ("sgd", 0.9, "step")
    assert (training.steps_at, training.step_factor) == ((0.4, 0.8), 0.1)
    after = METHOD.prune_stage(context, stage)
    assert (after.prune.lr, after.run) == (pytest.approx(0.003), stage.run)
    assert context.run.training.optimizer == "adamw", "the teacher's"
    fixed = replace(recipe, student=replace(recipe.student, lr=0.2), prune=replace(recipe.prune, lr=0.5))
    stage = METHOD.student_stage(replace(context, recipe=fixed), backbone.teacher(4))
    assert (len(asked), stage.student) == (1, fixed.student)
    assert METHOD.prune_stage(context, stage).prune.lr == 0.5
    one = parse_recipe({"method": {"name": "paper", "training": {"momentum": 0.5}}}, "t").method
    assert (one.training.momentum, one.training.optimizer) == (0.5, "sgd")  # type: ignore[attr-defined]
