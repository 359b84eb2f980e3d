"""The grid of a study: which cells there are, what is the same run, and what a cell's recipe is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from nettailor.errors import DataError, UsageError
from nettailor.jobs.recipe import Recipe, parse_recipe
from nettailor.jobs.study_cells import Cell, plan, recipe_key, shown
from nettailor.jobs.study_file import PretrainedOn, StudyFile

SOURCES = Path("/sources")


def cells(factors: dict[str, list[Any]], **more: Any) -> list[Cell]:
    return plan(StudyFile(factors, name="s", **more), SOURCES, "s.yaml")


def test_a_cell_is_a_recipe_of_its_values() -> None:
    base = {"data": {"source": "digits"}, "teacher": {"batch": 32}}
    found = cells({"rate": [0.1, 0.2], "training.optimizer": ["sgd"], "per_class": [None, 3]}, base=base)
    assert [dict(cell.factors) for cell in found] == [
        {"rate": rate, "training.optimizer": "sgd", "per_class": count} for rate in (0.1, 0.2) for count in ("null", 3)
    ]
    recipe = found[3].recipe
    assert (recipe.teacher.lr, recipe.teacher.batch, recipe.data.per_class) == (0.2, 32, 3)
    assert (recipe.training.optimizer, recipe.method.name, recipe.task) == ("sgd", "finetune", "digits")
    assert found[3].where == (3,)
    assert len({cell.name for cell in found}) == 4
    assert found[3].name.startswith("finetune-seed0-")


def test_a_factor_that_a_method_does_not_have_leaves_it_alone() -> None:
    found = cells({"tune_from": ["head", "all"], "method": ["finetune", "linear"]})
    assert [tuple(cell.factors.values()) for cell in found] == [
        ("head", "finetune"),
        (None, "linear"),
        ("all", "finetune"),
    ]
    with pytest.raises(UsageError, match="factors.tune_from: no method of this study has method.tune_from"):
        cells({"tune_from": ["head"], "method": ["linear"]})


def test_baselines_vary_with_what_is_trained_on_alone_and_each_runs_once() -> None:
    factors = {"rate": [0.1, 0.2], "per_class": [2, 3], "seed": [0, 1]}
    found = cells(factors, baselines=("linear", "scratch"), base={"method": {"name": "finetune", "new_lr": 10}})
    assert len([cell for cell in found if not cell.baseline]) == 8
    baselines = [cell for cell in found if cell.baseline]
    assert len(baselines) == 8
    assert {cell.recipe.method.name for cell in baselines} == {"linear", "scratch"}
    assert all(cell.factors["rate"] is None and cell.recipe.teacher.lr is None for cell in baselines)
    assert {cell.where for cell in baselines} == {cell.where for cell in found if not cell.baseline}
    grid = cells({"method": ["finetune", "linear"]}, baselines=("linear",))
    assert [cell.baseline for cell in grid] == [False, False], "it is in the grid already"
    with pytest.raises(UsageError, match=r"s.yaml: baselines: there is no method 'linaer'; did you mean 'linear'"):
        cells(factors, baselines=("linaer",))


def test_pairs_bring_sections_of_their_own_and_name_their_source(digit_folder: Path) -> None:
    pairs = {
        "near": {"data": {"source": "digits"}, "pretrained_on": {"data": str(digit_folder), "crop": 0.8}},
        "far": {"data": {"source": str(digit_folder)}, "backbone": {"input_size": 16}},
    }
    base = {"pretrained_on": {"data": "CIFAR10", "classes": "a|b"}}
    near, far = cells({"pair": ["near", "far"]}, pairs=pairs, base=base)
    assert (near.recipe.data.source, far.recipe.data.source) == ("digits", str(digit_folder))
    assert far.recipe.backbone.input_size == 16
    assert near.source == PretrainedOn(str(digit_folder), "a|b", 0.8), "its section lies over the base's"
    assert far.source == PretrainedOn("CIFAR10", "a|b")
    assert cells({"seed": [0]})[0].source is None


@pytest.mark.parametrize(
    ("section", "says"),
    [
        ({"data": "CIFAR10", "crop": 2}, "pretrained_on.crop: input should be less than or equal to 1"),
        ({"data": "CIFAR10", "crp": 1}, "pretrained_on.crp: no such key; did you mean 'crop'?"),
        ({"crop": 1}, "pretrained_on.data: field required"),
    ],
)
def test_what_was_pretrained_on_is_held_to_its_keys(section: dict[str, Any], says: str) -> None:
    with pytest.raises(UsageError) as raised:
        cells({"seed": [0]}, base={"pretrained_on": section})
    assert f"s.yaml: cell of seed 0: {says}" in str(raised.value)


def test_source_pictures_go_along_to_methods_that_read_them_and_are_what_was_pretrained_on(digit_folder: Path) -> None:
    base = {"source": {"data": str(digit_folder), "head": "new"}}
    probe, soft = cells({"method": ["linear", "soft"]}, base=base)
    assert (probe.recipe.source.data, soft.recipe.source.data) == (None, str(digit_folder))
    assert soft.recipe.source.head == "new"
    assert probe.source == soft.source == PretrainedOn(str(digit_folder))


def test_small_sources_are_a_backbone_of_their_own(digit_folder: Path) -> None:
    pretrain = {"data": str(digit_folder), "epochs": 2}
    factors = {"source_classes": [2, 4], "source_pictures": [{"total": 8}, {"each": 4}]}
    found = cells(factors, pretrain=pretrain)
    assert [tuple(cell.factors.values()) for cell in found] == [
        (2, "total 8"),
        (2, "each 4"),
        (4, "total 8"),
        (4, "each 4"),
    ]
    assert found[0].name == found[1].name, "four of each of two are eight in all"
    assert len({cell.name for cell in found}) == 3
    net = found[2].net
    assert net is not None
    assert (net.classes, net.each, net.config.epochs) == (4, 2, 2)
    assert found[2].recipe.backbone.name == "resnet34_tiny,num_classes=4"
    assert found[2].recipe.backbone.weights == f"/sources/{net.key}/weights.safetensors"
    assert found[2].source is not None
    assert found[2].source.data == str(digit_folder)
    every = cells({"source_pictures": [{"each": 3}]}, pretrain=pretrain)[0].net
    assert every is not None
    assert every.classes == 4
    with pytest.raises(DataError, match="has 4 classes, 5 are asked for"):
        cells({"source_classes": [5]}, pretrain=pretrain)
    with pytest.raises(DataError, match="13 of each class are asked for, but 'digit 0' has 12"):
        cells({"source_pictures": [{"each": 13}]}, pretrain=pretrain)
    with pytest.raises(UsageError, match="backbone.weights: small sources are pretrained from random weights"):
        cells({"source_classes": [2]}, pretrain=pretrain, base={"backbone": {"weights": "a.safetensors"}})


@pytest.mark.parametrize(
    ("factors", "says"),
    [
        ({"rate": [-1]}, "s.yaml: cell of rate -1: teacher.lr: input should be greater than 0, but it is -1"),
        ({"teacher.rate": [1]}, "s.yaml: cell of teacher.rate 1: teacher.rate: no such key"),
        ({"method": ["finetun"]}, "method.name: there is no method 'finetun'; did you mean 'finetune'?"),
        ({"method": [{"name": "linear", "depth": 3}]}, "method.depth: no such key"),
    ],
)
def test_a_recipe_that_is_refused_names_its_cell(factors: dict[str, list[Any]], says: str) -> None:
    with pytest.raises(UsageError) as raised:
        cells(factors)
    assert says in str(raised.value)


def test_a_recipe_s_key_is_of_what_it_sets() -> None:
    one = Recipe().with_method("finetune")
    assert recipe_key(one) == recipe_key(parse_recipe({"method": "finetune"}, "t"))
    same = {"method": "finetune", "machine": {"threads": 1}, "data": {"workers": 2}}
    assert recipe_key(parse_recipe(same, "t")) == recipe_key(one), "where and how fast it runs is no part of it"
    others = (
        {"method": "linear"},
        {"method": "finetune", "seed": 1},
        {"method": "finetune", "data": {"thin": {"a": 0.5}}},
    )
    assert len({recipe_key(parse_recipe(tree, "t")) for tree in others} | {recipe_key(one)}) == 4


def test_values_are_shown_in_a_few_words() -> None:
    values = [None, 3, 0.5, True, "all", {"name": "linear"}, {"name": "shallow", "macs": 0.5}, {"total": 5}, [1, 2]]
    assert [shown(value) for value in values] == [
        "null", 3, 0.5, True, "all", "linear", "shallow macs 0.5", "total 5", "[1, 2]",
    ]  # fmt: skip
