"""The Markdown of a study: its sections, tables and pictures."""

from __future__ import annotations

import re
from pathlib import Path

from nettailor.artifacts.study import Distance, SourceFigures
from nettailor.training.layer_change import LayerChange
from nettailor.views.study_report import report_text
from tests.fabricated import cell

LAYER = LayerChange(1, "layer1.0", 0.123, 0.99, None, 0.5, 0.25)


def test_a_report_has_what_the_study_has(tmp_path: Path) -> None:
    distance = Distance("/a/objects.zip", "digits", "tiny", (1000, 900), 1.5, 0.1, 0.25, 3.0)
    source = SourceFigures("tiny", "/a/objects.zip", ["x", "y"], [10, 11], 3, 0, 0.5, 9.0)
    cells = [
        cell(0.9, rate=0.1, layers=[LAYER], distance=distance, source=source, over_probe=30.0, over_scratch=10.5),
        cell(0.8, rate=0.2, layers=[LAYER], distance=distance, over_probe=20.0),
        cell(0.6, method="linear", rate=None, baseline=True, distance=distance),
    ]
    text = report_text("mine", cells, ["rate"], tmp_path)
    assert (tmp_path / "report.md").read_text() == text
    headings = re.findall(r"^#+ (.*)$", text, re.M)
    assert headings == ["mine", "Accuracy", "By rate", "Change by depth", "Source and target", "Source networks"]
    assert "| finetune | 0.1 | 1 | 90.00 | 90.00 | +30.00 | +10.50 | 20 | 8 |" in text
    assert "| linear | - | 1 | 60.00 | 60.00 | - | - | 20 | 8 |" in text
    assert "| 0.2 | 1 | 80.00 | +20.00 | - |" in text
    assert "| 1 | layer1.0 | 0.123 | 0.990 | - | 0.500 | 0.250 |" in text
    assert "| birds | objects.zip (1,000) | digits (900) | 1.500 | 0.2500 | finetune | +25.00 ± 7.07 | +10.50 |" in text
    assert "| tiny | objects.zip | 2 | 21 | 10-11 | 3 | 50.0 |" in text
    assert set(re.findall(r"!\[.*\]\((.*)\)", text)) == {
        "accuracy_by_rate.png",
        "change_by_depth.png",
        "gain_by_distance.png",
    }


def test_what_it_does_not_have_is_left_out_and_bars_in_names_are_kept_from_tables(tmp_path: Path) -> None:
    text = report_text(
        "mine", [cell(0.9, **{"data.classes": "a|b"}), cell(0.8, **{"data.classes": "c"})], ["data.classes"], tmp_path
    )
    assert re.findall(r"^## (.*)$", text, re.M) == ["Accuracy", "By data.classes"]
    assert "| a\\|b | 1 | 90.00" in text
