"""Pictures of a study: which there are, and what is on their axes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from matplotlib.figure import Figure

from nettailor.artifacts.study import CellFigures, Distance
from nettailor.training.layer_change import LayerChange
from nettailor.views.study_plots import depth_groups, draw_depth, draw_distance, draw_factor, draw_study, picture_of
from tests.fabricated import cell


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """Figures as they are saved."""
    figures: list[Figure] = []
    real = Figure.savefig

    def save(self: Figure, *words: Any, **more: Any) -> None:
        figures.append(self)
        real(self, *words, **more)

    monkeypatch.setattr(Figure, "savefig", save)
    return figures


def layers(change: float) -> list[LayerChange]:
    return [LayerChange(n, str(n), change * n, 1 - change * n, 0.9, 0.5, None if n else 0.4) for n in range(3)]


def cells(rates: tuple[float, ...] = (0.001, 0.01, 0.1)) -> list[CellFigures]:
    distance = Distance("/a/objects.zip", "digits", "tiny", (9, 9), 1.5, 0.1, 0.2, 3.0)
    made = [
        cell(0.8 + rate, rate=rate, tune_from=name, layers=layers(rate), distance=distance, over_probe=5.0)
        for rate in rates
        for name in ("head", "all")
    ]
    return [*made, cell(0.6, method="linear", rate=None, tune_from=None, baseline=True, distance=distance)]


def test_accuracy_by_a_factor_has_a_line_for_each_choice_of_the_others(tmp_path: Path, drawn: list[Figure]) -> None:
    path = draw_factor(cells(), ["rate", "tune_from"], "rate", tmp_path)
    assert path == tmp_path / "accuracy_by_rate.png"
    assert path.read_bytes().startswith(b"\x89PNG")
    (plot,) = drawn[0].axes
    assert plot.get_xscale() == "log"
    lines = {container.get_label(): container.lines[0] for container in plot.containers}
    assert set(lines) == {"finetune, tune_from head", "finetune, tune_from all"}
    line = lines["finetune, tune_from all"]
    assert list(line.get_xdata()) == [0.001, 0.01, 0.1]
    assert list(line.get_ydata()) == pytest.approx([0.801, 0.81, 0.9])
    assert [line.get_label() for line in plot.lines if "baseline" in str(line.get_label())] == ["linear (baseline)"]


def test_words_stand_side_by_side_and_too_many_lines_become_one(tmp_path: Path, drawn: list[Figure]) -> None:
    draw_factor(cells(), ["rate", "tune_from"], "tune_from", tmp_path)
    assert [text.get_text() for text in drawn[0].axes[0].get_xticklabels()] == ["head", "all"]
    many = cells(tuple(n / 100 for n in range(1, 11)))
    draw_factor(many, ["rate", "tune_from"], "tune_from", tmp_path)
    assert [container.get_label() for container in drawn[1].axes[0].containers] == ["finetune, mean of all"]
    assert picture_of("training.steps at") == "accuracy_by_training_steps_at.png"


def test_change_by_depth_has_four_panels_and_leaves_out_what_is_not_known(tmp_path: Path, drawn: list[Figure]) -> None:
    draw_depth(cells((0.1,)), ["rate", "tune_from"], tmp_path / "a.png")
    titles = [plot.get_title() for plot in drawn[0].axes]
    assert titles == ["|W - W0| / |W0|", "cosine of W and W0", "CKA before and after", "zeros after"]
    change, zeros = drawn[0].axes[0], drawn[0].axes[3]
    assert list(change.lines[0].get_ydata()) == pytest.approx([0, 0.1, 0.2])
    assert len(change.lines) == 2, "baselines are not shown"
    assert list(zeros.lines[0].get_xdata()) == [0]
    assert zeros.lines[-1].get_label() == "before"
    assert [
        group.label for group in depth_groups(cells(tuple(n / 10 for n in range(1, 6))), ["rate", "tune_from"])
    ] == [f"rate {n / 10:g}" for n in range(1, 6)]


def test_gains_stand_at_their_distance(tmp_path: Path, drawn: list[Figure]) -> None:
    draw_distance(cells(), tmp_path / "a.png")
    plots = drawn[0].axes
    assert [plot.get_xlabel() for plot in plots[:2]] == ["proxy-A distance", "unbiased MMD²"]
    (point,) = plots[0].containers
    assert (list(point.lines[0].get_xdata()), list(point.lines[0].get_ydata())) == ([1.5], [5.0])
    assert [text.get_text() for text in plots[0].texts] == ["birds"]
    assert plots[2].containers == [], "no gain over scratch is known"


def test_what_a_study_does_not_have_is_not_drawn(tmp_path: Path) -> None:
    names = [path.name for path in draw_study(cells(), ["rate", "tune_from"], tmp_path)]
    assert names == ["accuracy_by_rate.png", "accuracy_by_tune_from.png", "change_by_depth.png", "gain_by_distance.png"]
    plain = [cell(0.9, rate=0.1), cell(0.8, rate=0.1, seed=1)]
    assert draw_study(plain, ["rate", "seed"], tmp_path / "none") == []
