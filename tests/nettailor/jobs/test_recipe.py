"""Recipes: what is typed is checked, what is wrong is named with its remedy."""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from nettailor.config.loading import parse_overrides
from nettailor.errors import UsageError
from nettailor.jobs.recipe import Recipe, parse_recipe, read_recipes


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "recipe.yaml"
    path.write_text(text)
    return path


def test_overrides_lie_over_the_file(tmp_path: Path) -> None:
    path = written(tmp_path, "student: {epochs: 3, skips: 2}\nprune: {remove: [1, 2]}\n")
    (recipe,) = read_recipes(path, parse_overrides(["student.epochs=9", "data.flip=true", "teacher.lr=1e-3"]))
    assert (recipe.student.epochs, recipe.student.skips, recipe.data.flip) == (9, 2, True)
    assert recipe.teacher.lr == 1e-3
    assert recipe.prune.remove == (1, 2)


def test_writing_and_reading_gives_the_same_recipe(tmp_path: Path) -> None:
    recipe = parse_recipe(parse_overrides(["student.lr=3e-4", "task=birds", "data.group=^(a|b)_"]), "test")
    recipe.write(tmp_path / "r.yaml")
    assert read_recipes(tmp_path / "r.yaml") == [recipe]


def test_what_is_written_holds_every_setting_there_is(tmp_path: Path) -> None:
    """A setting that were left out would come back as its default, and the run would be another."""

    def names(settings: Any) -> dict[str, Any]:
        return {f.name: names(getattr(settings, f.name)) for f in fields(settings)} if is_dataclass(settings) else {}

    recipe = parse_recipe({"seed": 7, "method": {"name": "shallow", "macs": 0.5}}, "test")
    recipe.write(tmp_path / "r.yaml")
    text = (tmp_path / "r.yaml").read_text()

    def held(tree: Any, wanted: dict[str, Any]) -> bool:
        return not wanted or (tree.keys() == wanted.keys() and all(held(tree[key], wanted[key]) for key in wanted))

    assert held(yaml.safe_load(text), names(recipe))
    assert read_recipes(tmp_path / "r.yaml") == [recipe]
    assert text.startswith(f"# Repeat this run: nettailor adapt --recipe {tmp_path / 'r.yaml'} --out ")


@pytest.mark.parametrize(("views", "meant"), [(None, "pointwise"), (8, "auto")])
def test_proxies_that_were_chosen_by_cost_before_blocks_were_thinned_are_chosen_so_still(
    tmp_path: Path, views: int | None, meant: str
) -> None:
    """Version 0.1.0's recipes had no fixed views."""
    tree = Recipe().as_dict()
    assert tree["student"]["proxies"] == "auto"
    tree["student"]["views"] = views
    if views is None:
        del tree["student"]["views"]
    path = written(tmp_path, yaml.safe_dump(tree))
    assert Recipe.read(path).student.proxies == meant
    assert [recipe.student.proxies for recipe in read_recipes(path)] == [meant]


def test_tasks_share_what_stands_beside_them(tmp_path: Path) -> None:
    path = written(tmp_path, "seed: 4\nstudent: {epochs: 2}\ntasks:\n- task: a\n- {task: b, student: {epochs: 5}}\n")
    one, two = read_recipes(path)
    assert (one.task, one.seed, one.student.epochs) == ("a", 4, 2)
    assert (two.task, two.seed, two.student.epochs) == ("b", 4, 5)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("studnet: {epochs: 3}", "studnet: no such key; did you mean 'student'"),
        ("student: {epoch: 3}", "student.epoch: no such key; did you mean 'epochs'"),
        ("skips: 3", "did you mean 'student.skips'"),
        ("student: {qqq: 3}", "student.qqq: no such key; there are skips"),
        ("student: {skips: -1}", "student.skips: input should be greater than or equal to 0, but it is -1"),
        ("student: {gates: hard}", "student.gates: input should be 'softmax' or 'independent', but it is 'hard'"),
        ("teacher: {lr: .nan}", "teacher.lr"),
        ("teacher: {lr: fast}", "teacher.lr"),
        ("data: {val_fraction: 1.0}", "data.val_fraction: input should be less than 1"),
        ("prune: {remove: []}", "prune.remove"),
        ("machine: {device: tpu}", "machine.device"),
        ("student: 3", "student"),
        ("- a\n- b", "is a mapping"),
        ("a: [", "no valid YAML"),
        ("tasks: 3", "tasks: must be a list"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, text: str, says: str) -> None:
    path = written(tmp_path, text)
    with pytest.raises(UsageError) as raised:
        read_recipes(path)
    assert says in str(raised.value)
    assert str(path) in str(raised.value)
