"""Pictures say what they show, and say what to install where they can't be drawn."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest
from matplotlib.figure import Figure as MatplotlibFigure

from nettailor.artifacts.confusion import Confusion
from nettailor.errors import UsageError
from nettailor.views import plots
from nettailor.views.plots import Curve, draw_confusion, draw_curves, draw_front, has_matplotlib
from tests import fabricated


def test_pictures_say_what_they_show(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    figures: list[MatplotlibFigure] = []
    save = MatplotlibFigure.savefig
    monkeypatch.setattr(MatplotlibFigure, "savefig", lambda self, *a, **k: (figures.append(self), save(self, *a, **k)))
    curves = [Curve("one", [0.2, 0.4], [0.8, 0.9], "o-"), Curve("_", [0.5], [0.7], "o", [0.1], [0.05])]
    draw_curves(tmp_path / "some.png", "some", curves, {"teacher": 0.95})
    draw_curves(tmp_path / "other.png", "other", curves, {"teacher": 0.95}, "teacher's accuracy on test")
    assert [figure.axes[0].get_ylabel() for figure in figures] == ["accuracy on test", "teacher's accuracy on test"]
    (legend,) = figures[0].legends
    assert [text.get_text() for text in legend.get_texts()] == ["teacher", "one"]
    assert (tmp_path / "some.png").read_bytes().startswith(b"\x89PNG")


def test_a_front_is_drawn_in_parts_of_the_backbone_with_the_chosen_network_marked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[str, list[Curve], dict[str, float]]] = []
    monkeypatch.setattr(plots, "draw_curves", lambda path, title, curves, levels: seen.append((title, curves, levels)))
    draw_front(fabricated.front(), tmp_path / "front.png")
    ((title, (way, chosen), levels),) = seen
    assert title == "birds over tiny"
    assert (way.x, way.y) == ([0.9, 0.6, 0.3], [0.94, 0.93, 0.72])
    assert (chosen.x, chosen.y) == ([0.6], [0.93])
    assert levels == {"teacher": 0.95}


def test_a_front_without_a_chosen_network_is_drawn_too(tmp_path: Path) -> None:
    front = fabricated.front()
    draw_front(replace(front, points=[replace(point, chosen=False) for point in front.points]), tmp_path / "f.png")
    assert (tmp_path / "f.png").read_bytes().startswith(b"\x89PNG")


def test_without_matplotlib_the_error_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(UsageError, match="pip install 'nettailor\\[plots\\]'"):
        draw_curves(tmp_path / "some.png", "some", [], {})
    assert list(tmp_path.iterdir()) == []
    assert not has_matplotlib()


@pytest.mark.parametrize("classes", [3, 60])
def test_a_confusion_matrix_is_coloured_by_parts_of_each_class(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, classes: int
) -> None:
    figures: list[MatplotlibFigure] = []
    save = MatplotlibFigure.savefig
    monkeypatch.setattr(MatplotlibFigure, "savefig", lambda self, *a, **k: (figures.append(self), save(self, *a, **k)))
    counts = [[3 if row == column else 0 for column in range(classes)] for row in range(classes)]
    counts[1][2], counts[2] = 1, [0] * classes
    draw_confusion(Confusion("birds", [f"c{place}" for place in range(classes)], counts), tmp_path / "c.png")
    (axes,) = figures[0].axes
    parts = axes.images[0].get_array()
    assert [list(row[:3]) for row in parts[:3]] == [[1, 0, 0], [0, 0.75, 0.25], [0, 0, 0]]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("taken for", "class")
    assert [text.get_text() for text in axes.texts] == (["3", "3", "1"] if classes == 3 else [])
    assert (tmp_path / "c.png").read_bytes().startswith(b"\x89PNG")
