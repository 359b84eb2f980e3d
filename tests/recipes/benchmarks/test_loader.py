"""The benchmark of the loader, on few and small pictures: what it measures, prints and writes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from recipes.benchmarks.loader import PASSES, main, write_photographs

SMALL = ("--backbone", "timm/test_efficientnet", "--size", "32", "--longest", "80", "--batch", "4", "--threads", "1")


def test_photographs_are_as_many_and_as_large_as_is_asked_for(tmp_path: Path) -> None:
    write_photographs(tmp_path, 90, 80)
    names = sorted(tmp_path.glob("train/*/*.jpg"))
    assert len(names) == 90
    assert {Image.open(name).size for name in names} == {(80, 60)}
    assert len({name.read_bytes() for name in names}) == 40


def test_speed_is_the_ratio_of_median_passes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "loader.json"
    result = main([*SMALL, "--only", "speed", "--pictures", "20", "--rounds", "3", "--out", str(out)])
    seconds, ratios = result["speed"]["seconds"], result["speed"]["ratios"]
    assert list(seconds) == list(PASSES)
    assert all(len(taken) == 3 for taken in seconds.values())
    assert ratios["photo"] == sorted(seconds["photo"])[1] / sorted(seconds["in memory"])[1]
    assert json.loads(out.read_text())["speed"] == result["speed"]
    said = capsys.readouterr().out
    assert f"photo from files: {ratios['photo from files']:.3f} of a pass in memory, at most 1.1 " in said


@pytest.mark.slow
def test_ten_times_the_pictures_take_no_more_memory() -> None:
    result = main([*SMALL, "--only", "memory", "--counts", "1000", "10000", "--workers", "1"])
    few, many = result["memory"]["few"], result["memory"]["many"]
    assert (few["pictures"], many["pictures"]) == (1000, 10000)
    assert min(few["own"], few["worker"], many["worker"]) > 50
    assert result["memory"]["ratio"] <= 1.2
