"""Wrongly classified pictures: which are shown, in which order, and the line where there are none."""

from __future__ import annotations

import base64
import io
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from nettailor.artifacts.predictions import Predictions, SplitPredictions
from nettailor.artifacts.run_folder import RunFolder
from nettailor.jobs.mistakes import MOST, _wrong_rows, thumbnail, wrong_pictures
from nettailor.jobs.recipe import own_recipe
from nettailor.views.html.data import MistakeData
from tests import pages

CLASSES = ["digit 0", "digit 1", "digit 2"]


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("kept")
    pages.finished_run(root / "run", root / "pictures")
    return root


@pytest.fixture
def run(kept: Path, tmp_path: Path) -> RunFolder:
    """A copy of a run with pictures of its own."""
    shutil.copytree(kept, tmp_path, dirs_exist_ok=True)
    recipe = tmp_path / "run" / "recipe.yaml"
    recipe.write_text(recipe.read_text().replace(str(kept), str(tmp_path)))
    return RunFolder(tmp_path / "run")


def wrong(run: RunFolder) -> tuple[list[MistakeData], str, list[str]]:
    said: list[str] = []
    found, note = wrong_pictures(own_recipe(run.root), run, CLASSES, said.append)
    return found, note, said


def test_pictures_are_the_runs_own(run: RunFolder, tmp_path: Path) -> None:
    found, note, said = wrong(run)
    assert (note, said) == ("", [])
    for mistake in found:
        pixels = Image.open(io.BytesIO(base64.b64decode(mistake.picture.split(",")[1])))
        with Image.open(tmp_path / "pictures" / mistake.name) as there:
            assert pixels.tobytes() == there.convert("RGB").tobytes()


def test_pictures_that_are_gone_are_left_out_with_a_line(run: RunFolder, tmp_path: Path) -> None:
    shutil.move(tmp_path / "pictures", tmp_path / "elsewhere")
    found, note, said = wrong(run)
    assert (found, note) == ([], "The pictures of this run can't be read any more, so none are shown.")
    assert "pictures left out: " in said[0]
    assert str(tmp_path) not in note


def test_pictures_that_lie_in_another_class_now_are_not_shown(run: RunFolder, tmp_path: Path) -> None:
    first, second = (m.name for m in wrong(run)[0])
    wrong_class = tmp_path / "pictures" / first.replace("digit 1", "digit 0")
    shutil.move(tmp_path / "pictures" / first, wrong_class)
    assert [mistake.name for mistake in wrong(run)[0]] == [second]


def test_a_picture_that_is_damaged_now_is_said(run: RunFolder, tmp_path: Path) -> None:
    (tmp_path / "pictures" / wrong(run)[0][0].name).write_bytes(b"no picture")
    found, note, said = wrong(run)
    assert found == []
    assert "can't be read any more" in note
    assert "can't be read" in said[0]


def test_lines_where_nothing_is_known_or_nothing_is_wrong(run: RunFolder) -> None:
    kept = Predictions.read(run.predictions)
    right = replace(kept, test=replace(kept.test, compact=kept.test.labels))
    right.write(run.predictions)
    assert wrong(run)[1] == "None: all 6 test pictures are right."
    replace(kept, test=replace(kept.test, compact=[0])).write(run.predictions)
    assert wrong(run)[1] == "The predictions of this run are not whole."
    run.predictions.unlink()
    assert "wrote no predictions" in wrong(run)[1]


def test_every_pair_comes_once_before_any_comes_twice_and_frequent_pairs_first() -> None:
    pairs = [(0, 1), (0, 0), (2, 1), (0, 1), (1, 2), (2, 1), (2, 1), (7, 1), (1, -1)]
    test = SplitPredictions([str(n) for n in range(9)], [a for a, _ in pairs], [b for _, b in pairs])
    assert _wrong_rows(test, 3) == [2, 0, 4, 5, 3, 6]


def test_thumbnails_are_small_and_carry_pixels_alone() -> None:
    large = Image.effect_noise((900, 600), 90).convert("RGB")
    large.info["comment"] = "where it was taken"
    uri = thumbnail(large)
    assert uri.startswith("data:image/jpeg;base64,")
    data = base64.b64decode(uri.split(",")[1])
    assert Image.open(io.BytesIO(data)).size == (112, 75)
    assert b"taken" not in data
    assert len(data) < 12_000
    assert MOST * len(uri) < 200_000
    assert thumbnail(Image.new("L", (8, 8))).startswith("data:image/png;base64,")
