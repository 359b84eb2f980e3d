"""`nettailor show --tensorboard`: all that is known of a run, the graph of a delta alone."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tensorboard.plugins.hparams import metadata

from blocks import Backbone, Plan, TailoredNet, compact
from nettailor.artifacts.confusion import Confusion
from nettailor.artifacts.report import Report
from nettailor.jobs import tensorboard
from nettailor.jobs.recipe import Recipe
from nettailor.views.tensorboard.hparams import METRICS
from tests import fabricated
from tests.conftest import CommandLine
from tests.fabricated import CLASSES, TINY
from tests.nettailor.views.tensorboard.conftest import graph_in, read

KEPT = Path(__file__).parents[2] / "artifacts" / "v0.1.0"


def counted(folder: Path) -> dict[str, int]:
    devices = [node.device for node in graph_in(folder).node]
    return {device: devices.count(device) for device in sorted(set(devices))}


@pytest.fixture
def old(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run of version 0.1.0, whose recipe names files that are not here."""
    monkeypatch.syspath_prepend(str(KEPT))
    return shutil.copytree(KEPT / "run", tmp_path / "old")


@pytest.fixture
def delta_folder(tmp_path: Path) -> Path:
    """A delta over `tests.tiny:tiny_resnet`, and nothing beside it."""
    fabricated.saved_delta(tmp_path / "birds")
    return tmp_path / "birds"


@pytest.mark.filterwarnings("ignore::nettailor.artifacts.delta.UncheckedWarning")
def test_a_finished_run_shows_its_graph_before_and_after_and_its_results(old: Path, nettailor: CommandLine) -> None:
    report = Report.read(old / "report.json")
    Confusion("digits3", CLASSES, [[3, 0, 0], [0, 2, 1], [0, 0, 3]]).write(old / "confusion.json")
    over = ("--backbone", "tiny_v010:tiny_resnet", "--weights", KEPT / "tiny.safetensors")
    status, said, err = nettailor("show", old, *over, "--tensorboard", "board")
    assert status == 0, err
    assert said.endswith("tensorboard --logdir board\n")
    runs = sorted(path.name for path in Path("board/graphs").iterdir())
    assert runs == ["1-before-training", "2-after-training", "3-after-pruning"]
    before, trained, after = (counted(Path("board/graphs") / run) for run in runs)
    assert set(before) == set(trained) == {"kept"}
    assert sum(after.values()) == before["kept"], "what was dropped is still drawn"
    left = report.compact.universal_blocks_kept + report.compact.proxies_kept
    devices = [
        node.device for node in graph_in(Path("board/graphs") / runs[2]).node if node.op in ("UniversalBlock", "Proxy")
    ]
    assert devices.count("kept") == left
    gates = [
        {node.name: node.attr["gate"].f for node in graph_in(Path("board/graphs") / run).node if node.op == "Proxy"}
        for run in runs[:2]
    ]
    assert gates[0] != gates[1], "training moved them"
    events = read(Path("board"))
    assert set(events.Tags()["scalars"]) == set(METRICS)
    assert {"search", "confusion"} <= set(events.Tags()["images"])
    assert metadata.SESSION_START_INFO_TAG in events.PluginTagToContent(metadata.PLUGIN_NAME)


def test_a_delta_alone_shows_the_graph_that_it_keeps(delta_folder: Path, nettailor: CommandLine) -> None:
    status, _, err = nettailor("show", delta_folder, "--backbone", TINY, "--tensorboard", "board")
    assert status == 0, err
    assert [path.name for path in Path("board").iterdir()] == ["graphs"]
    assert counted(Path("board/graphs/3-after-pruning")) == {"dropped": 1, "kept": 3 + 5 + 1 + 6}


def test_a_report_beside_a_delta_alone_is_not_believed(delta_folder: Path, nettailor: CommandLine) -> None:
    lonely = shutil.copytree(delta_folder, Path("lonely"))
    fabricated.report().write(lonely / "report.json")
    Recipe(task="birds").write(lonely / "recipe.yaml")
    status, _, err = nettailor("show", lonely, "--backbone", TINY, "--tensorboard", "board")
    assert status == 0, err
    assert [path.name for path in Path("board").iterdir()] == ["graphs"]


def test_a_folder_that_cannot_be_written_is_a_plain_error(delta_folder: Path, nettailor: CommandLine) -> None:
    Path("file").write_text("")
    said = nettailor.fails("show", delta_folder, "--backbone", TINY, "--tensorboard", "file")
    assert "can't be written" in said
    assert "file" in said


def test_the_student_that_was_pruned_has_the_widths_of_its_delta(backbone: Backbone) -> None:
    made = TailoredNet(backbone, 3, Plan(skips=3, proxies="thinned_half")).eval()
    made.keep(path for path in made.paths if not path.is_universal)
    delta: Any = SimpleNamespace(net=compact(made), classes=["a", "b", "c"])
    student = tensorboard._student(delta, Recipe())
    assert student is not None
    assert any(path.form == "thinned_half" for path in student.paths)
    assert set(delta.net.paths) <= set(student.paths)
