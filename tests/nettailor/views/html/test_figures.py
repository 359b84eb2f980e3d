"""Figures, curve and matrix of a run as the page shows them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from nettailor.artifacts.confusion import Confusion
from nettailor.artifacts.report import PruneFigures, Report
from nettailor.errors import FileError
from nettailor.views.html.figures import confusion_data, figures_data, front_data
from tests import fabricated

HERE = Path("report.json")


def tried(trials: list[dict[str, Any]], recovered: list[dict[str, Any]] | None = None) -> Report:
    return fabricated.report(prune=PruneFigures("tolerance", 0.5, True, trials, recovered=recovered or []))


def test_figures_stand_beside_their_teachers() -> None:
    data = figures_data(fabricated.report())
    assert (data.test_accuracy, data.teacher_accuracy, data.blocks, data.proxies) == (0.945, 0.95, 4, 2)
    alone = figures_data(fabricated.without_teacher())
    assert (alone.teacher_accuracy, alone.teacher_latency_ms) == (None, None)


def test_a_measured_curve_goes_before_the_trials() -> None:
    report = tried(
        [{"paths": ["G1"], "macs": 5, "val_accuracy": 0.5}],
        [{"macs": 500_000, "after": 0.8}, {"macs": 1_100_000, "after": 0.99}],
    )
    data = front_data(report, HERE, fabricated.front(), ends=100_000)
    assert data is not None
    assert (data.source, data.teacher_val) == ("front.json", 0.9), "of the validation split"
    assert [point.macs for point in data.points] == [600_000, 1_200_000, 1_800_000]
    assert [point.recovered for point in data.points] == [0.8, None, None], "the chosen one is recovered already"


def test_without_a_curve_the_trials_are_shown_with_stem_and_head() -> None:
    trials = [
        {"paths": ["G1", "A0-2", "G3"], "macs": 1_500_000, "val_accuracy": 0.9, "removed": []},
        {"paths": ["G1"], "macs": 1_100_000, "val_accuracy": 0.8, "removed": []},
    ]
    data = front_data(tried(trials), HERE, None, ends=100_000)
    assert data is not None
    assert data.source == "report.json"
    chosen, larger = data.points
    assert (chosen.macs, chosen.chosen, chosen.val) == (1_200_000, True, 0.91), "in the place of its own trial"
    assert (larger.macs, larger.blocks, larger.proxies, larger.test) == (1_600_000, 2, 1, None)


def test_one_size_is_no_curve() -> None:
    assert front_data(tried([]), HERE, None, 0) is None
    assert front_data(fabricated.without_teacher(), HERE, None, 0) is None


@pytest.mark.parametrize("trial", [{}, {"paths": ["G1"], "macs": "many", "val_accuracy": 0.5}, {"paths": 3}])
def test_a_damaged_trial_is_named(trial: dict[str, Any]) -> None:
    with pytest.raises(FileError, match=r"report\.json: .*it is in prune\.trials"):
        front_data(tried([trial]), HERE, None, 0)


def test_only_cells_with_pictures_are_kept() -> None:
    data = confusion_data(Confusion("birds", ["a", "b"], [[3, 0], [1, 2]]))
    assert data.cells == [(0, 0, 3), (1, 0, 1), (1, 1, 2)]
    assert figures_data(replace(fabricated.report(), teacher=None)).test_pictures == 20
