"""The benchmark of compact nets, on small pictures: what it prints, returns and writes."""

from __future__ import annotations

import json
import statistics
from pathlib import Path
from typing import Any

import pytest

from blocks.latency import Turns
from recipes.benchmarks import bench_compact


@pytest.mark.slow
def test_it_gives_medians_and_intervals_against_the_backbone_as_it_is_and_folded(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bench_compact, "PARTS", (0.75, 0.25))
    words = ("--models", "torchvision/resnet18", "--size", "32", "--batches", "1", "--threads", "1", "--runs", "4")
    rows = bench_compact.main([*words, "--out", str(tmp_path / "compact.json")])
    said = capsys.readouterr().out
    assert [row["wanted"] for row in rows] == [0.75, 0.25]
    assert json.loads((tmp_path / "compact.json").read_text())["rows"] == rows
    for row in rows:
        assert all(len(row[key]) == 4 for key in ("ms", "backbone_ms", "folded_backbone_ms"))
        for ratio, whole in (("time", "backbone_ms"), ("time_to_folded_backbone", "folded_backbone_ms")):
            wanted = statistics.median(row["ms"]) / statistics.median(row[whole])
            assert row[ratio] == pytest.approx(wanted), "the median of an even number is the middle two's mean"
            low, high = row[f"{ratio}_interval"]
            assert low <= row[ratio] <= high
            assert f"{row[ratio]:.3f} [{low:.3f}, {high:.3f}]" in said
        assert row["time_over_macs"] == pytest.approx(row["time"] / row["macs"])
        assert row["macs"] <= row["wanted"]


@pytest.mark.slow
def test_the_nets_take_turns_in_an_order_that_is_drawn_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[dict[str, Any]] = []

    def made_up(modules: dict[str, Any], threads: int, rounds: int, **given: Any) -> Turns:
        asked.append({"names": list(modules), "rounds": rounds, **given})
        return Turns({name: [3.0, 1.0, 2.0, 4.0] for name in modules})

    monkeypatch.setattr(bench_compact, "time_modules", made_up)
    monkeypatch.setattr(bench_compact, "PARTS", (0.5,))
    words = ("--models", "torchvision/resnet18", "--size", "32", "--batches", "1", "--runs", "4", "--seed", "5")
    (row,) = bench_compact.main(list(words))
    assert asked == [{"names": ["backbone", "folded backbone", "0.5"], "rounds": 4, "shuffle": 5}]
    assert row["time"] == 1.0
