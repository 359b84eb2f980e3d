"""NetTailor as published: its defaults are settings of the recipe's sections, and what the user sets lies over them."""

from __future__ import annotations

from nettailor.jobs.recipe import Recipe, parse_recipe
from nettailor.methods.paper import DEFAULTS, METHOD
from nettailor.training.stages import plan_of


def test_the_students_plan_owns_nothing_of_the_backbone_and_all_proxies_are_convolutions() -> None:
    recipe = Recipe().with_method("paper")
    plan = plan_of(recipe.student)
    assert (plan.skips, plan.proxies, plan.gates, plan.batch_norm, plan.rank) == (3, "conv1x1", "softmax", "source", 0)
    assert (recipe.student.complexity, recipe.student.matching, recipe.student.distill_weight) == ("paper", "local", 0)
    assert (recipe.prune.how, recipe.prune.proxies_below, recipe.prune.drop) == ("paper", 0.05, 0.5)
    METHOD.check(recipe)
    assert METHOD.stages(recipe)["prune"] == len(recipe.prune.remove) * DEFAULTS["prune"]["epochs"]
    assert METHOD.stages(recipe)["recover"] == 0


def test_what_the_user_sets_lies_over_the_defaults() -> None:
    recipe = parse_recipe({"method": "paper", "prune": {"epochs": 2}, "student": {"matching": "end_to_end"}}, "test")
    assert (recipe.prune.epochs, recipe.prune.how) == (2, "paper")
    assert (recipe.student.matching, recipe.student.complexity) == ("end_to_end", "paper")
    assert parse_recipe({"prune": {"epochs": 2}}, "test").prune.how == "tolerance"
