"""The table of what each part of the short training gives: every figure is that of its raw report."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

from nettailor.artifacts.report import Report

DOCS = Path(__file__).parents[2] / "docs"
RECIPE = DOCS.parent / "recipes" / "short_training.yaml"


def test_the_table_of_the_short_training_has_the_figures_of_its_reports() -> None:
    text = (DOCS / "how_it_works.md").read_text(encoding="utf-8")
    section = text.split("### What makes the training short")[1].split("\n#")[0]
    rows = dict(re.findall(r"^\| `(\w+)` \| (.+) \|$", section, re.MULTILINE))
    assert list(rows) == [task["task"] for task in yaml.safe_load(RECIPE.read_text(encoding="utf-8"))["tasks"]]
    for name, figures in rows.items():
        report = Report.read(DOCS / "bench" / "short_training" / f"{name}.json")
        assert report.compact is not None
        passes = [f"{report.epochs[stage]:.0f}" for stage in ("student", "prune", "recover", "importance")]
        accuracy, part = 100 * report.compact.test_accuracy, 100 * report.compact.macs / report.backbone.macs
        assert figures.split(" | ") == [*passes, f"{accuracy:.2f}", f"{part:.0f}"], name
