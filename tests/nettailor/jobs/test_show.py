"""Runs and deltas over one backbone are gathered for a page; others are refused by name."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from blocks import Backbone, InputSpec
from nettailor.artifacts import delta
from nettailor.artifacts.confusion import Confusion
from nettailor.backbones.load import load_backbone
from nettailor.errors import FileError, UsageError
from nettailor.jobs.show import load_together, page_data
from nettailor.views.html.data import PageData
from tests import fabricated, pages, tiny


@pytest.fixture(scope="module")
def tiny_net() -> Backbone:
    return load_backbone(fabricated.TINY, None, 16)


@pytest.fixture(scope="module")
def kept_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("kept")
    return pages.finished_run(root / "digits", root / "pictures").root


def gathered(folders: list[Path], backbone: Backbone) -> PageData:
    return page_data(folders, load_together(folders, lambda _: backbone))


def test_a_finished_run_shows_all_that_it_wrote(kept_run: Path, tiny_net: Backbone) -> None:
    page = gathered([kept_run], tiny_net)
    (task,) = page.tasks
    assert (task.label, task.method, task.seed, task.classes) == ("digits", "nettailor", 3, 3)
    assert task.figures.test_accuracy == pytest.approx(4 / 6)
    assert task.confusion is not None
    assert sum(count for *_, count in task.confusion.cells) == 6
    assert [(wrong.true, wrong.given) for wrong in task.mistakes] == [("digit 1", "digit 2"), ("digit 2", "digit 0")]
    assert all(wrong.picture.startswith("data:image/png;base64,") for wrong in task.mistakes)
    assert (task.front, task.front_note) == (None, "This run knows one size only.")
    assert page.shared is None
    assert str(kept_run) not in page.to_json(), "where the run lies is nobody's business"


@pytest.mark.parametrize("counts", [[[1, 0], [0, 1]], [[1, 0, 0], [0, 1, 0], [0, 0]]])
def test_a_matrix_of_other_classes_is_refused(
    kept_run: Path, tiny_net: Backbone, tmp_path: Path, counts: list[list[int]]
) -> None:
    folder = shutil.copytree(kept_run, tmp_path / "digits")
    Confusion("digits", ["digit 0", "digit 1", "digit 2"], counts).write(folder / "confusion.json")
    with pytest.raises(FileError, match=r"confusion\.json: is no matrix of this run's classes"):
        gathered([folder], tiny_net)


@pytest.mark.parametrize("stage", ["student", "student-begun"])
def test_a_size_can_be_asked_for_where_the_student_is_kept(
    kept_run: Path, tiny_net: Backbone, tmp_path: Path, stage: str
) -> None:
    folder = shutil.copytree(kept_run, tmp_path / "digits")
    (folder / "nets").mkdir()
    (folder / "nets" / f"{stage}.safetensors").write_bytes(b"")
    fabricated.front().write(folder / "front.json")
    (task,) = gathered([folder], tiny_net).tasks
    assert task.prune_command == f"nettailor prune {folder}"
    assert task.front is not None
    assert [point.chosen for point in task.front.points] == [False, True, False]


def test_a_bare_delta_shows_its_graph_and_what_it_tells_of_costs(kept_run: Path, tiny_net: Backbone) -> None:
    (task,) = gathered([kept_run / "task"], tiny_net).tasks
    assert (task.figures.test_accuracy, task.front, task.confusion, task.mistakes) == (None, None, None, [])
    assert (task.figures.blocks, task.figures.proxies) == (5, 1)
    assert task.front_note.startswith("This is a delta without its run")


def test_several_runs_share_one_backbone_and_have_distinct_names(
    kept_run: Path, tiny_net: Backbone, tmp_path: Path
) -> None:
    same = shutil.copytree(kept_run, tmp_path / "same")
    other = tmp_path / "tuned"
    net = fabricated.pruned(tiny_net)
    delta.save(net, other, "digits", ["a", "b", "c"], "finetune")
    deltas = load_together([kept_run, same, other], lambda _: tiny_net)
    assert {id(found.net.backbone) for found in deltas} == {id(tiny_net)}
    page = page_data([kept_run, same, other], deltas)
    labels = [task.label for task in page.tasks]
    assert labels == [f"digits, {kept_run}", f"digits, {same}", "digits, finetune"]
    assert page.shared is not None
    assert page.shared.union == 4 * sum(net.shared_params().values())
    assert page.shared.private is None


def test_other_backbones_sizes_and_repeated_runs_are_refused_by_name(
    kept_run: Path, tiny_net: Backbone, tmp_path: Path
) -> None:
    small = Backbone(tiny.tiny_resnet(), InputSpec(24, (0.5,) * 3, (0.25,) * 3), "small")
    delta.save(fabricated.pruned(small), tmp_path / "other", "fish", fabricated.CLASSES)
    with pytest.raises(UsageError) as raised:
        gathered([kept_run, tmp_path / "other"], tiny_net)
    said = str(raised.value)
    assert f"{kept_run} is over {tiny_net.name} at 16 px and {tmp_path / 'other'} over small at 24 px" in said
    with pytest.raises(UsageError, match="named twice"):
        gathered([kept_run, kept_run], tiny_net)
    with pytest.raises(FileError, match="is the run finished"):
        gathered([kept_run, tmp_path / "nothing"], tiny_net)


def test_two_backbones_of_one_name_are_told_apart_by_their_hashes(
    kept_run: Path, tiny_net: Backbone, tmp_path: Path
) -> None:
    again = Backbone(tiny.live_in(tiny.tiny_resnet(), 16), tiny_net.spec, tiny_net.name)
    delta.save(fabricated.pruned(again), tmp_path / "other", "fish", fabricated.CLASSES)
    with pytest.raises(UsageError, match=r"at 16 px \([0-9a-f]{12}\.\.\.\) and .* at 16 px \([0-9a-f]{12}\.\.\.\)"):
        gathered([kept_run, tmp_path / "other"], tiny_net)
