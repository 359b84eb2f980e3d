"""Pictures say what they show, and say what to install where they can't be drawn."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest
from matplotlib.figure import Figure as MatplotlibFigure

from nettailor.errors import UsageError
from nettailor.views import plots
from nettailor.views.plots import Curve, draw_curves, draw_front
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
