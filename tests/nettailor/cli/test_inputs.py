"""What several verbs read alike: short options as settings, and the backbone of a delta."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from blocks.proxies import FORMS
from nettailor.artifacts import delta
from nettailor.cli.adapt import AdaptOptions
from nettailor.cli.compare import CompareOptions
from nettailor.cli.inputs import backbone_of, recipe_tree
from nettailor.cli.options import parse
from nettailor.errors import FileError
from nettailor.files import read_json, write_json
from nettailor.jobs.recipe import parse_recipe
from tests import fabricated


def options(run: Path, **given: Any) -> Any:
    return SimpleNamespace(**{"run": run, "backbone": None, "weights": None, "proxies": None, **given})


def test_only_what_was_given_is_a_setting() -> None:
    assert recipe_tree(parse("adapt", AdaptOptions, [])) == {}
    words = ["--data", "d", "--skip-bad", "--backbone", "b", "--weights", "w", "--device", "cpu"]
    words += ["--method", "linear", "--seed", "0"]
    assert recipe_tree(parse("adapt", AdaptOptions, words)) == {
        "data": {"source": "d", "skip_bad": True},
        "backbone": {"name": "b", "weights": "w"},
        "machine": {"device": "cpu"},
        "method": {"name": "linear"},
        "seed": 0,
    }


def test_a_verb_without_an_option_sets_nothing_by_it() -> None:
    assert recipe_tree(parse("compare", CompareOptions, ["--data", "d", "--seeds", "3"])) == {"data": {"source": "d"}}


def test_a_backbone_of_code_is_loaded_only_where_the_user_names_it(tmp_path: Path) -> None:
    fabricated.saved_delta(tmp_path / "task")
    assert backbone_of(options(tmp_path)) is None
    assert backbone_of(options(tmp_path, weights="w.safetensors")) is None, "weights name no code"
    backbone = backbone_of(options(tmp_path, backbone=fabricated.TINY))
    assert backbone is not None
    assert backbone.spec.size == 16, "of the pictures that the delta describes"
    assert delta.load(tmp_path, backbone).classes == fabricated.CLASSES


def test_a_form_of_proxy_is_imported_where_the_user_names_it_and_no_delta_is_an_error(tmp_path: Path) -> None:
    form = "blocks.proxies:bottleneck"
    assert form not in FORMS
    with pytest.raises(FileError, match="holds no delta"):
        backbone_of(options(tmp_path, proxies=form))
    assert form in FORMS


@pytest.mark.parametrize(
    ("given", "weights", "fetch"),
    [
        ({}, "IMAGENET1K_V1", False),
        ({"weights": "IMAGENET1K_V2"}, "IMAGENET1K_V2", True),
        ({"backbone": "torchvision/resnet18"}, None, True),
    ],
)
def test_weights_that_only_a_runs_recipe_names_are_not_downloaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: dict[str, str], weights: str | None, fetch: bool
) -> None:
    """A member of torchvision's enum is no file, but something to be fetched."""
    asked: list[tuple[Any, ...]] = []
    monkeypatch.setattr(
        delta, "load_described", lambda name, weights, _, fetch=True: asked.append((name, weights, fetch))
    )
    fabricated.saved_delta(tmp_path / "task")
    tree = read_json(tmp_path / "task/task.json")
    write_json(tmp_path / "task/task.json", {**tree, "backbone": {**tree["backbone"], "name": "torchvision/resnet18"}})
    parse_recipe({"backbone": {"weights": "IMAGENET1K_V1"}}, "test").write(tmp_path / "recipe.yaml")
    (tmp_path / "report.json").write_text("{}")
    backbone_of(options(tmp_path, **given))
    assert asked == [("torchvision/resnet18", weights, fetch)]
