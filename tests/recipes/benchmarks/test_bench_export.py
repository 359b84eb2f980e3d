"""The benchmark of exported files, on small pictures: what it prints, returns and writes."""

from __future__ import annotations

import json
import statistics
from pathlib import Path

import pytest

from recipes.benchmarks import bench_export
from tests.extras import needs

pytestmark = [*needs("onnx", "onnxscript", "onnxruntime"), pytest.mark.slow]


def test_it_sets_times_and_sizes_against_their_bars(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ("--models", "torchvision/resnet18", "--to", "onnx", "--size", "32", "--threads", "1", "--runs", "4")
    rows = bench_export.main([*words, "--out", str(tmp_path / "export.json")])
    said = capsys.readouterr().out
    assert [(row["wanted"], row["bar"]) for row in rows] == [(0.5, 1.3), (0.25, 1.5)]
    assert json.loads((tmp_path / "export.json").read_text())["rows"] == rows
    for row in rows:
        assert len(row["ms"]) == len(row["backbone_ms"]) == 4
        assert row["time"] == pytest.approx(statistics.median(row["ms"]) / statistics.median(row["backbone_ms"]))
        assert row["time_over_macs"] == pytest.approx(row["time"] / row["macs"])
        assert row["within_bar"] == (row["time_over_macs"] <= row["bar"])
        assert row["macs"] <= row["wanted"]
        assert row["small_enough"], "this needs no clock"
        assert f"{row['bytes']:,} bytes" in said
