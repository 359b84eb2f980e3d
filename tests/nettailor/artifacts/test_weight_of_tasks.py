"""What tasks weigh, on figures that are easy to reckon with."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations
from statistics import mean
from typing import Any

import pytest

from nettailor.artifacts.report import Report
from nettailor.artifacts.weight_of_tasks import saves_from, union, weigh
from tests import fabricated

STEM, ONE, TWO = {"stem": 10, "head": 5}, {"G1": 100}, {"G2": 200}


def run(delta: int, private: int | None, **parts: int) -> Report:
    """A backbone of 1,000 parameters, 4,000 bytes."""
    made = fabricated.report()
    shared: Any = parts or None
    return replace(made, compact=replace(made.compact, task_bytes=delta, private_params=private, shared_params=shared))


def test_tasks_weigh_what_is_shared_and_a_delta_each_or_a_private_copy_each() -> None:
    weight = weigh([run(1000, 600, stem=10, G1=100), run(1400, 700, stem=10, G2=200)], tasks=(1, 2, 20))
    assert (weight.delta, weight.private, weight.folded) == (1200, 4 * 650, True)
    assert weight.backbone.bytes == [4000 + 1200, 4000 + 2400, 4000 + 24000]
    assert weight.copies == [2600, 5200, 52000]
    assert weight.blocks is not None
    assert weight.blocks.bytes == [4 * 160 + 1200, 4 * 310 + 2400, 4 * 310 + 24000], "of one run either block, or both"
    assert weight.backbone.saves_from == 3, "2 tasks: 6400 and 5200 bytes; 3 tasks: 7600 and 7800"
    assert weight.blocks.saves_from == 1


def test_a_delta_that_weighs_as_much_as_a_private_copy_never_saves_anything() -> None:
    weight = weigh([run(2400, 600, stem=10)])
    assert weight.backbone.saves_from is None
    assert weight.blocks is not None
    assert weight.blocks.saves_from is None
    assert weigh([run(2399, 600, stem=10)]).backbone.saves_from == 4001, "a byte for each task"


def test_a_method_that_shares_nothing_has_no_blocks_to_keep() -> None:
    report = run(2500, 600)
    alone = weigh([replace(report, compact=replace(report.compact, shared_params={}))])
    assert alone.blocks is not None
    assert alone.blocks.bytes == [2500, 12500, 50000]
    assert alone.backbone.saves_from is None


@pytest.mark.parametrize("count", [1, 2, 3, 4, 20])
def test_the_union_of_some_runs_is_its_mean_over_all_choices_of_them(count: int) -> None:
    runs = [STEM, STEM | ONE, STEM | ONE | TWO, STEM | TWO]
    choices = [set().union(*chosen) for chosen in combinations(runs, min(count, 4))]
    sizes = STEM | ONE | TWO
    assert union(runs, count) == pytest.approx(mean(sum(sizes[part] for part in chosen) for chosen in choices))


@pytest.mark.parametrize("private", [1300, 1500, 2100, 3000, 5001, 6000])
def test_the_first_number_that_saves_is_the_first(private: int) -> None:
    runs = [STEM | ONE, STEM | TWO, STEM | ONE]

    def shared(count: int) -> float:
        return 4 * union(runs, count)

    found = saves_from(shared, 1200, private, len(runs))
    assert found == next(count for count in range(1, 100) if shared(count) + count * 1200 < count * private)


def test_reports_of_older_versions_give_an_upper_bound_and_blocks_of_a_single_run() -> None:
    """700 parameters as trained, 250 of them the task's own."""
    one = weigh([run(1000, None)])
    assert (one.private, one.folded) == (2800, False)
    assert one.blocks is not None
    assert one.blocks.bytes == [4 * 450 + 1000, 4 * 450 + 5000, 4 * 450 + 20000]
    several = weigh([run(1000, None), run(1000, None)])
    assert several.blocks is None, "which blocks the two have in common is not known"
    assert not weigh([run(1000, 600, stem=10), run(1000, None)]).folded
