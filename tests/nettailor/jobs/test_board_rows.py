"""Rows of a board: methods with variants, in order, and what is refused."""

from __future__ import annotations

import pytest

from nettailor import methods
from nettailor.errors import UsageError
from nettailor.jobs.board_rows import ALL, SHORT, find_row, in_order
from nettailor.jobs.recipe import parse_recipe


def test_rows_stand_in_the_order_of_the_board_each_once() -> None:
    def labels(*wanted: str) -> list[str]:
        return [row.label for row in in_order(wanted)]

    assert labels("linear", "paper", "linear", "nettailor") == ["finetune", "nettailor", "linear", "paper"]
    assert labels() == ["finetune"]
    assert labels("nettailor", "shallow+distill", "shallow") == ["finetune", "nettailor", "shallow+distill", "shallow"]
    assert labels(*SHORT) == list(SHORT)
    assert labels(*ALL)[:3] == ["finetune", "nettailor", "finetune+90"]
    assert sorted(labels(*ALL)) == sorted(ALL)
    assert {label.split("+")[0] for label in ALL} == set(methods.names()), "every method is on the long board"


@pytest.mark.parametrize(
    ("wanted", "says"),
    [
        ("magic", "--methods: there is no method 'magic'"),
        ("shallow", "shallow: takes its size and passes from nettailor's run; compare that too"),
        ("shallow+distil", r"--methods shallow\+distil: shallow has no variant 'distil'; did you mean 'distill'"),
        ("paper+matching", "paper has no variant 'matching'; its variants: none"),
        ("linear+distill", "linear has no variant 'distill'; its variants: none"),
    ],
)
def test_what_is_no_row_is_named(wanted: str, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        in_order([wanted])


def test_a_variant_lies_over_the_users_own_settings_of_the_method() -> None:
    ours = parse_recipe({"method": {"name": "shallow", "macs": 0.5}, "teacher": {"epochs": 7}}, "t")
    recipe = find_row("shallow+distill").recipe(ours)
    assert vars(recipe.method) == {"name": "shallow", "macs": 0.5, "passes": None, "distill": True}
    both = find_row("blocks_per_stage+distill+two")
    assert both.label == find_row("blocks_per_stage+two+distill").label == "blocks_per_stage+two+distill"
    made = both.recipe(ours)
    assert vars(made.method) == {"name": "blocks_per_stage", "blocks": 2, "passes": None, "distill": True}
    assert made.teacher == ours.teacher


def test_a_variant_may_be_of_any_section() -> None:
    ours = parse_recipe({"student": {"epochs": 3}, "teacher": {"epochs": 7}}, "t")
    labels = find_row("nettailor+labels").recipe(ours)
    assert (labels.student.distill_weight, labels.student.start, labels.student.epochs) == (0.0, "backbone", 3)
    assert find_row("nettailor+matching").recipe(ours).student.matching_weight == 10.0
    assert ours.student.matching_weight is None
    assert labels.method == ours.method
    longer = find_row("finetune+90")
    assert longer.method.stages(longer.recipe(ours)) == {"teacher": 90}
    assert longer.recipe(ours).teacher == ours.teacher, "the teacher of the others stays what it is"
