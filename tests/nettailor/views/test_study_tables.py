"""A study's cells as rows: seeds together, one factor at a time, and what a table says."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from nettailor.training.layer_change import LayerChange
from nettailor.views.study_tables import groups, levels, points, row_of, study_table, varying
from tests.fabricated import cell

CELLS = [
    cell(0.90, seed=0, rate=0.1, per_class=5, over_probe=2.0),
    cell(0.94, seed=1, rate=0.1, per_class=5, over_probe=4.0),
    cell(0.80, seed=0, rate=0.02, per_class=5),
    cell(0.70, method="linear", rate=None, per_class=5, baseline=True),
]
AXES = ["rate", "per_class", "seed"]


def test_seeds_of_one_choice_are_one_row() -> None:
    assert varying(CELLS, AXES) == ["rate"]
    found = groups(CELLS, AXES)
    assert [group.label for group in found] == ["finetune, rate 0.1", "finetune, rate 0.02", "linear"]
    test = found[0].figure(lambda one: one.test_accuracy)
    assert test is not None
    assert (test.mean, test.std) == (pytest.approx(0.92), pytest.approx(0.02 * 2**0.5))
    assert row_of(found[0]) == ["2", "92.00 ± 2.83", "92.00 ± 2.83", "+3.00 ± 1.41", "-", "20", "8"]
    assert row_of(found[2]) == ["1", "70.00", "70.00", "-", "-", "20", "8"]
    assert points(None) == "-"


def test_levels_of_a_factor_are_in_their_order_and_without_baselines() -> None:
    assert [(group.factors["rate"], len(group.cells)) for group in levels(CELLS, "rate")] == [(0.02, 1), (0.1, 2)]
    assert [(group.factors["seed"], len(group.cells)) for group in levels(CELLS, "seed")] == [(0, 2), (1, 1)]
    words = [cell(0.9, tune_from=name) for name in ("head", "all", "head")]
    assert [group.factors["tune_from"] for group in levels(words, "tune_from")] == ["head", "all"], "words as they come"


def test_layers_are_means_and_what_one_lacks_is_missing() -> None:
    one, other = (LayerChange(1, "a", value, 1.0, cka, 0.5, 0.5) for value, cka in ((0.1, 0.9), (0.3, None)))
    (group,) = groups([cell(0.9, layers=[one]), cell(0.8, seed=1, layers=[other])], ["seed"])
    (found,) = group.layers()
    assert found.weights == pytest.approx(0.2)
    assert found.cka is None
    assert (found.layer, found.name, found.zeros_after) == (1, "a", 0.5)


def test_the_table_has_the_factors_that_vary() -> None:
    text = io.StringIO()
    Console(file=text, width=120).print(study_table("mine", CELLS, AXES))
    said = text.getvalue()
    assert "mine: 4 cells" in said
    assert "per_class" not in said
    assert "92.00 ± 2.83" in said
    assert "+3.00 ± 1.41" in said
