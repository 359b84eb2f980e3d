"""The load test of the server, with some hundred requests: nothing fails, and what it prints and writes is consistent."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

pytest.importorskip("fastapi")
pytest.importorskip("prometheus_client")

from recipes.benchmarks.bench_serve import main


@pytest.mark.slow
def test_no_request_fails_and_memory_stays_flat(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ("--requests", "400", "--requests-of-few", "60", "--warmup", "150", "--seconds", "60", "--pictures", "8")
    found = main([*words, "--out", str(tmp_path / "serve.json")])
    said = capsys.readouterr().out
    kept = json.loads((tmp_path / "serve.json").read_text())
    assert kept["rows"] == found["rows"]
    assert [row["clients"] for row in found["rows"]] == [1, 16]
    for row in found["rows"]:
        assert (row["failed"], row["failures"]) == (0, {})
        assert row["requests"] == len(row["ms"]) > 30
        assert row["p50_ms"] <= row["p99_ms"] <= row["slowest_ms"]
        assert f"{row['per_second']:.1f}" in said
    assert found["pictures_per_batch"] > 1, "requests of one moment are batched"
    assert found["memory"]["after_16"] < 1.15 * found["memory"]["warm"]
