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
