"""Trees of settings: read, laid over each other, checked, compared."""

from __future__ import annotations

from dataclasses import field
from pathlib import Path
from typing import Any

import pytest
from pydantic.dataclasses import dataclass

from nettailor.config.loading import differences, merge, parse, parse_overrides, plain, read_trees
from nettailor.errors import UsageError
from nettailor.jobs.recipe import Recipe, parse_recipe
from nettailor.schema import STRICT, Count


@dataclass(config=STRICT, frozen=True)
class Engine:
    power: Count = 1
    fuel: str = "wood"


@dataclass(config=STRICT, frozen=True)
class Car:
    engine: Engine = field(default_factory=Engine)
    colour: str = "red"


def test_a_tree_becomes_its_dataclass_with_defaults_where_it_says_nothing() -> None:
    assert parse(Car, {"engine": {"power": 3}}, "test") == Car(Engine(3, "wood"), "red")


@pytest.mark.parametrize(
    ("tree", "says"),
    [
        ({"engin": {}}, "here: engin: no such key; did you mean 'engine'?"),
        ({"engine": {"powr": 2}}, "here: engine.powr: no such key; did you mean 'power'?"),
        ({"power": 2}, "here: power: no such key; did you mean 'engine.power'?"),
        ({"zzz": 2}, "here: zzz: no such key; there are engine, colour"),
        ({"engine": {"power": 0}}, "here: engine.power: input should be greater than or equal to 1, but it is 0"),
    ],
)
def test_a_wrong_key_or_value_is_named_with_its_place(tree: dict[str, Any], says: str) -> None:
    with pytest.raises(UsageError) as raised:
        parse(Car, tree, "here")
    assert str(raised.value) == says


def test_a_part_of_a_tree_is_named_by_its_whole_place_and_two_errors_are_shown_at_most() -> None:
    with pytest.raises(UsageError) as raised:
        parse(Engine, {"power": 0, "fuel": 3, "x": 1}, "here", "engine.")
    lines = str(raised.value).splitlines()
    assert len(lines) == 2
    assert all(line.startswith("here: engine.") for line in lines)


def test_one_tree_lies_over_another_section_by_section_and_neither_changes() -> None:
    below, above = {"a": {"x": 1, "y": [1, 2]}, "b": 1}, {"a": {"y": [3]}, "b": {"z": 1}, "c": 2}
    assert merge(below, above) == {"a": {"x": 1, "y": [3]}, "b": {"z": 1}, "c": 2}
    assert below == {"a": {"x": 1, "y": [1, 2]}, "b": 1}
    assert above == {"a": {"y": [3]}, "b": {"z": 1}, "c": 2}


@pytest.mark.parametrize(
    ("below", "above", "both"),
    [
        ({"name": "shallow", "macs": 0.5}, "shallow", {"name": "shallow", "macs": 0.5}),
        ({"name": "shallow", "macs": 0.5}, "linear", {"name": "linear"}),
        ({"name": "shallow", "macs": 0.5}, {"macs": 0.3}, {"name": "shallow", "macs": 0.3}),
        ("shallow", {"macs": 0.3}, {"name": "shallow", "macs": 0.3}),
    ],
)
def test_settings_of_a_method_do_not_outlive_it(below: Any, above: Any, both: Any) -> None:
    assert merge({"method": below}, {"method": above}) == {"method": both}


def test_overrides_are_yaml_values_and_later_ones_win() -> None:
    words = ["a.x=1", "a.y.z=[1, 2]", "b=", "a.x=2.5", "c=yes it is", "d=x=y"]
    tree = parse_overrides(words)
    assert tree == {"a": {"x": 2.5, "y": {"z": [1, 2]}}, "b": None, "c": "yes it is", "d": "x=y"}


@pytest.mark.parametrize("word", ["student.epochs", "=3", "student.epochs=[", "--x"])
def test_an_override_has_a_key_and_a_value(word: str) -> None:
    with pytest.raises(UsageError):
        parse_overrides([word])


def test_a_file_of_several_tasks_is_a_tree_for_each_with_the_overrides_over_it(tmp_path: Path) -> None:
    path = tmp_path / "many.yaml"
    path.write_text("engine: {power: 2, fuel: oil}\ntasks:\n- {engine: {power: 5}}\n- {colour: blue}\n")
    assert read_trees(path, {"engine": {"fuel": "gas"}}) == [
        ({"engine": {"power": 5, "fuel": "gas"}}, f"{path}: task 1"),
        ({"engine": {"power": 2, "fuel": "gas"}, "colour": "blue"}, f"{path}: task 2"),
    ]


def test_an_empty_file_says_nothing_and_a_missing_or_undecodable_one_is_named(tmp_path: Path) -> None:
    path = tmp_path / "some.yaml"
    path.write_text("# nothing\n")
    assert read_trees(path) == [({}, str(path))]
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UsageError, match="is no valid YAML"):
        read_trees(path)
    path.unlink()
    with pytest.raises(UsageError, match="can't be read \\(No such file or directory\\)"):
        read_trees(path)


@pytest.mark.parametrize("text", ["tasks: []", "tasks: [a]"])
def test_tasks_are_mappings_and_there_is_one_at_least(tmp_path: Path, text: str) -> None:
    (tmp_path / "many.yaml").write_text(text)
    with pytest.raises(UsageError, match="tasks: must be a list of recipes"):
        read_trees(tmp_path / "many.yaml")


def test_differences_say_what_the_first_recipe_has_and_leave_the_machine_out() -> None:
    other = parse_recipe({"student": {"epochs": 1}, "prune": {"cut": "fade"}, "machine": {"device": "cpu"}}, "test")
    there = differences(other.as_dict(), Recipe().as_dict())
    assert there == {"student.epochs": "student.epochs=1", "prune.cut": "prune.cut=fade"}
    assert merge(Recipe().as_dict(), parse_overrides(list(there.values())))["student"]["epochs"] == 1
    assert differences(Recipe().as_dict(), other.as_dict())["student.epochs"] == "student.epochs=null"


def test_keys_that_only_one_of_two_recipes_has_are_differences() -> None:
    thin = parse_recipe({"data": {"thin": {"3": 0.1}}}, "test").as_dict()
    assert differences(thin, Recipe().as_dict()) == {"data.thin.3": "data.thin.3=0.1"}
    assert differences(Recipe().as_dict(), thin) == {"data.thin.3": "no data.thin.3"}
    assert "method.name" in differences(parse_recipe({"method": "shallow"}, "test").as_dict(), Recipe().as_dict())


def test_tuples_are_lists_all_the_way_down() -> None:
    assert plain({"a": (1, (2, 3)), "b": [{"c": (4,)}], "d": "text"}) == {
        "a": [1, [2, 3]],
        "b": [{"c": [4]}],
        "d": "text",
    }
