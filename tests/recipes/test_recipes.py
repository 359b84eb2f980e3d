"""The shipped recipes: every one is found, says its command and its expected result, and is valid."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from nettailor.config.library import (
    procedure_module,
    recipe_folder,
    shipped_procedures,
    shipped_recipes,
    shipped_studies,
)
from nettailor.jobs.recipe import Recipe, read_recipes
from tests.conftest import CommandLine

RECIPES = 5
STUDIES = 1
PROCEDURES = 13


def test_every_recipe_is_found() -> None:
    on_disk = set(Path(__file__).parents[2].joinpath("recipes").rglob("*.yaml"))
    assert set(shipped_recipes().values()) | set(shipped_studies().values()) == on_disk
    assert len(on_disk) == RECIPES + STUDIES
    assert len(shipped_studies()) == STUDIES
    assert len(shipped_procedures()) == PROCEDURES


@pytest.mark.parametrize("name", sorted(shipped_recipes()))
def test_every_recipe_is_valid_and_opens_with_its_command_and_expected_result(name: str) -> None:
    path = shipped_recipes()[name]
    assert read_recipes(path)
    head = "\n".join(line for line in path.read_text().splitlines() if line.startswith("#"))
    assert re.search(rf"nettailor adapt.*(--recipe {name})?", head)
    assert "xpected" in head


@pytest.mark.parametrize("name", sorted(shipped_studies()))
def test_every_study_is_valid_and_opens_with_its_command_and_expected_result(name: str, nettailor: CommandLine) -> None:
    head = "\n".join(line for line in shipped_studies()[name].read_text().splitlines() if line.startswith("#"))
    assert f"nettailor study {name}" in head
    assert "xpected" in head
    status, said, err = nettailor("recipes", "validate", name)
    assert status == 0, err
    assert re.fullmatch(rf"{name}: valid, a study of \d+ cells\n", said)
    assert list(Path().iterdir()) == []


@pytest.mark.parametrize("name", sorted(shipped_procedures()))
def test_every_procedure_opens_with_its_command_and_expected_result(name: str) -> None:
    head = shipped_procedures()[name].read_text().split('"""')[1]
    assert f"python -m {procedure_module(name)}" in head
    assert "xpected" in head


def test_the_default_recipe_is_the_defaults_written_out() -> None:
    (recipe,) = read_recipes(shipped_recipes()["default"])
    assert recipe == Recipe()
    tree = yaml.safe_load(shipped_recipes()["default"].read_text())
    for section, keys in Recipe().as_dict().items():
        if isinstance(keys, dict):
            assert list(tree[section]) == list(keys), section


def test_the_papers_recipe_is_the_papers() -> None:
    (recipe,) = read_recipes(shipped_recipes()["paper"])
    student, prune = recipe.student, recipe.prune
    assert (student.gates, student.skips, student.complexity, student.proxies) == ("softmax", 3, "paper", "by_block")
    assert (student.complexity_weight, student.matching_weight, student.distill_weight) == (0.3, 10.0, 0.0)
    assert (student.batch_norm, prune.how, prune.proxies_below, prune.drop) == ("source", "paper", 0.05, 0.5)
    assert len(prune.remove) > 2
    assert prune.fade_epochs == 0
    assert recipe.recover.epochs == 0


def test_listing_reading_copying_and_validating(nettailor: CommandLine) -> None:
    status, said, _ = nettailor("recipes", "ls")
    assert status == 0
    assert len(said.strip().splitlines()) == RECIPES + STUDIES + PROCEDURES
    status, said, _ = nettailor("recipes", "cat", "paper")
    assert said == shipped_recipes()["paper"].read_text()
    assert nettailor("recipes", "cp", "paper", "mine.yaml")[0] == 0
    assert Path("mine.yaml").read_text() == said
    assert "exists already" in nettailor.fails("recipes", "cp", "default", "mine.yaml")
    assert Path("mine.yaml").read_text() == said
    assert "run it with: nettailor study" in nettailor("recipes", "cp", "studies/digits", "study.yaml")[1]
    assert nettailor("recipes", "validate", "study.yaml")[1] == "study.yaml: valid, a study of 12 cells\n"
    assert nettailor("recipes", "cat", "studies/digits")[1] == Path("study.yaml").read_text()
    assert nettailor("recipes", "validate", "mine.yaml")[1] == "mine.yaml: valid, 1 task\n"


@pytest.mark.slow
def test_run_passes_on_to_adapt_and_to_procedures(nettailor: CommandLine, digit_folder: Path) -> None:
    from tests.tiny import QUICK

    status, said, err = nettailor("recipes", "run", "default", "--data", digit_folder, *QUICK)
    assert status == 0, err
    assert Path("runs/digits4/report.json").exists()
    status, said, err = nettailor(
        "recipes",
        "run",
        "bench_step",
        "--runs",
        1,
        "--most",
        1,
        "--warmup",
        0,
        "--size",
        64,
        "--batch",
        2,
        "--embedded-batch",
        2,
    )
    assert status == 0, err
    assert "of a plain step" in said


def test_recipes_are_part_of_the_package() -> None:
    assert recipe_folder().name == "recipes"
