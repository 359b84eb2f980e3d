"""Whose a folder is: free, its own run's, finished, or somebody else's and left as it is."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from nettailor.artifacts.run_folder import RunFolder
from nettailor.data.images import FolderSource
from nettailor.data.task import Split, Task
from nettailor.environment import MachineConfig
from nettailor.errors import FileError
from nettailor.files import read_json, write_json
from nettailor.jobs.recipe import Recipe
from tests import fabricated

RECIPE = Recipe(task="birds")


def task(brightness: int = 0, streamed: Path | None = None) -> Task:
    """Two pictures of two classes in each split, in memory, or in files below `streamed`."""
    source = FolderSource(streamed or Path("no folder"))
    images = None if streamed else torch.full((2, 3, 4, 4), brightness, dtype=torch.uint8)
    one, two, three = (
        Split(source, [f"{name}/a.png", f"{name}/b.png"], torch.tensor([0, 1]), 4, images)
        for name in ("train", "val", "test")
    )
    return Task("birds", ["cat", "dog"], one, two, three, 4, skipped=["c.png: is no picture"])


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    return RunFolder(tmp_path / "run")


@pytest.fixture
def begun(folder: RunFolder) -> Iterator[RunFolder]:
    with folder.owned(RECIPE):
        folder.begin(RECIPE, task())
    return folder


def test_a_folder_that_is_not_there_or_empty_is_free_and_looking_writes_nothing(folder: RunFolder) -> None:
    assert folder.look(RECIPE) is None
    assert not folder.root.exists()
    folder.root.mkdir()
    assert folder.look(RECIPE) is None
    assert list(folder.root.iterdir()) == []


def test_what_a_killed_process_left_keeps_no_folder_from_its_run(folder: RunFolder) -> None:
    folder.root.mkdir()
    left = folder.root / ".recipe.yaml.x.tmp"
    left.touch()
    (folder.root / ".lock").touch()
    assert folder.look(RECIPE) is None
    folder.begin(RECIPE, task())
    assert not left.exists()


def test_a_folder_of_something_else_is_refused(folder: RunFolder) -> None:
    folder.root.mkdir()
    (folder.root / "thesis.txt").write_text("precious")
    with pytest.raises(FileError, match="is not empty and holds no run; choose another --out"):
        folder.look(RECIPE)
    with pytest.raises(FileError, match="is not empty and holds no run"):
        RunFolder(folder.root / "thesis.txt").look(RECIPE)
    assert [path.name for path in folder.root.iterdir()] == ["thesis.txt"]


def test_a_run_that_has_begun_goes_on_wherever_it_runs_and_another_is_refused(begun: RunFolder) -> None:
    assert begun.look(RECIPE) is None
    assert begun.look(replace(RECIPE, machine=MachineConfig(device="cpu"))) is None
    with pytest.raises(FileError, match=r"holds another run \(with seed=0\); choose another --out"):
        begun.look(replace(RECIPE, seed=1))


def test_a_report_means_that_the_run_is_finished(begun: RunFolder) -> None:
    fabricated.report().write(begun.report)
    assert begun.look(RECIPE) == fabricated.report()
    with pytest.raises(FileError, match="was finished by another process just now"), begun.owned(RECIPE):
        pass


def test_a_folder_is_owned_by_one_at_a_time(folder: RunFolder) -> None:
    with folder.owned(RECIPE) as locked:
        assert locked
        assert folder.root.is_dir()
        with pytest.raises(FileError), folder.owned(RECIPE):
            pass
    with folder.owned(RECIPE):
        assert folder.look(RECIPE) is None


def test_beginning_writes_down_the_recipe_and_who_is_in_which_split(begun: RunFolder) -> None:
    assert Recipe.read(begun.recipe) == RECIPE
    written = read_json(begun.split)
    assert written["sha256"] == task().fingerprint()
    assert written["skipped"] == ["c.png: is no picture"]
    assert written["val"] == {"cat": ["val/a.png"], "dog": ["val/b.png"]}


def test_going_on_holds_the_pictures_to_what_was_written_down(begun: RunFolder) -> None:
    before = {path: path.stat().st_mtime_ns for path in begun.root.iterdir()}
    assert begun.begin(RECIPE, task()) == task().fingerprint()
    with pytest.raises(FileError, match="the pictures have changed since this run began"):
        begun.begin(RECIPE, task(brightness=1))
    assert {path: path.stat().st_mtime_ns for path in begun.root.iterdir()} == before


def test_an_old_fingerprint_without_pixels_counts_only_for_pictures_that_are_streamed(
    folder: RunFolder, tmp_path: Path
) -> None:
    for name in ("train", "val", "test"):
        (tmp_path / "pictures" / name).mkdir(parents=True)
        for picture in "ab":
            (tmp_path / "pictures" / name / f"{picture}.png").write_bytes(b"pixels")
    streamed = task(streamed=tmp_path / "pictures")
    folder.begin(RECIPE, streamed)
    old = streamed.fingerprint(pixels=False)
    assert old == task().fingerprint(pixels=False) != streamed.fingerprint()
    write_json(folder.split, {**read_json(folder.split), "sha256": old})
    assert folder.begin(RECIPE, streamed) == streamed.fingerprint()
    with pytest.raises(FileError, match="the pictures have changed"):
        folder.begin(RECIPE, task())
