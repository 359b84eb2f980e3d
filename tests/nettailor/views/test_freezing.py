"""The freezing curve, seen."""

from __future__ import annotations

from pathlib import Path

import pytest
from rich.console import Console

from nettailor.artifacts.freezing import Freezing, FreezingPoint
from nettailor.views.freezing import draw_freezing, freezing_table

POINTS = [FreezingPoint("new", 0.5, 0.4, 1234, 3, 9.0), FreezingPoint("layer4.0", 0.75, 0.7, 99_999, 3, 12.0)]
CURVE = Freezing("signs", "tiny", "finetune", 0, "layer4.0", POINTS)


def test_the_table_has_a_row_for_each_layer_and_marks_the_chosen() -> None:
    console = Console(width=120, record=True)
    console.print(freezing_table(CURVE))
    said = console.export_text()
    assert "layer4.0 *" in said
    assert "new *" not in said
    assert "75.00%" in said
    assert "99,999" in said


def test_the_picture_is_a_png(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    draw_freezing(CURVE, tmp_path / "f.png")
    assert (tmp_path / "f.png").read_bytes().startswith(b"\x89PNG")
