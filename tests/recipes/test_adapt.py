"""The real command line, on small real data: adapt, stop, go on, evaluate, predict, show."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image
from safetensors.torch import load_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from blocks.prepack import can_pack
from nettailor.artifacts import delta
from nettailor.artifacts.report import Report
from nettailor.views.tables import summary_table
from tests.conftest import CommandLine
from tests.tiny import QUICK, heed_ctrl_c

REPORT_KEYS = {
    "format": {},
    "task": {},
    "method": {},
    "backbone": {"name", "sha256", "macs", "params"},
    "data": {"train", "val", "test", "classes", "input_size"},
    "seed": {},
    "teacher": {"test_accuracy", "macs", "params"},
    "student": {"test_accuracy", "expected_complexity"},
    "compact": {
        *("test_accuracy", "macs", "params", "task_params", "task_bytes", "latency_ms"),
        *("universal_blocks_kept", "proxies_kept"),
    },
    "removed": {"macs", "params", "universal_blocks"},
    "seconds": {"prepare", "teacher", "student", "prune", "recover", "measure"},
    "epochs": {"teacher", "student", "prune", "importance", "recover"},
    "versions": {"torch"},
    "device": {},
}


@pytest.fixture
def finished(quick_run: Path) -> Path:
    """One finished run on the small digits."""
    return quick_run


def test_a_run_leaves_what_the_design_says(finished: Path) -> None:
    names = {path.name.split(".out")[0] for path in finished.iterdir()}
    names = {"events" if name.startswith("events.") else name for name in names}
    own = {"recipe.yaml", "report.json", "split.json", "predictions.json", "confusion.json", "confusion.png"}
    assert names == {*own, "task", "nets", "graphs", "events"}
    assert {path.name for path in (finished / "task").iterdir()} == {"task.json", "task.safetensors", "README.md"}
    tree = json.loads((finished / "report.json").read_text())
    for key, inner in REPORT_KEYS.items():
        assert key in tree
        assert set(inner) <= set(tree[key]) if inner else True
    assert next(iter(tree)) == "format"


def test_the_report_counts_what_is_on_disk(finished: Path) -> None:
    report = Report.read(finished / "report.json")
    net = delta.load(finished).net
    owned = load_file(finished / "task" / "task.safetensors")
    assert report.compact.task_params == sum(t.numel() for t in owned.values())
    assert report.compact.params == sum(t.numel() for t in [*net.parameters(), *net.buffers()] if t.is_floating_point())
    assert report.compact.macs == net.cost().macs
    assert report.compact.universal_blocks_kept == len(net.blocks)
    assert report.compact.proxies_kept == len(net.proxies)
    assert report.removed.macs == pytest.approx(1 - report.compact.macs / report.backbone.macs)
    split = json.loads((finished / "split.json").read_text())
    assert sum(len(v) for v in split["train"].values()) == report.data.train == 48


def test_output_that_is_no_terminal_is_plain_lines_and_ends_with_the_table(finished: Path) -> None:
    said = finished.with_suffix(".log").read_text()
    assert "\x1b" not in said
    assert "\r" not in said
    for word in ("teacher      1/1", "student      1/1", "ce ", "complexity ", "val_accuracy ", " left"):
        assert word in said
    for word in ("test accuracy", "M MACs", "task parameters", "ms per picture", "universal blocks", "report.json"):
        assert word in said[said.index("test accuracy") :]


def test_tensorboard_opens_to_a_few_charts_with_graphs_pictures_and_results(finished: Path) -> None:
    events = EventAccumulator(str(finished), size_guidance={"scalars": 0}).Reload()
    tags = events.Tags()
    losses = {f"loss/{name}" for name in ("cross entropy", "complexity", "distillation", "total")}
    results = {
        f"result/{name}" for name in ("test accuracy", "points lost", "MACs left", "task parameters", "milliseconds")
    }
    assert losses | results | {"accuracy/validation", "complexity/expected"} <= set(tags["scalars"])
    assert set(tags["images"]) == {"gates/over time", "search", "confusion"}
    assert sum(len(tags[kind]) for kind in ("scalars", "images", "histograms")) <= 20
    report = Report.read(finished / "report.json")
    steps = [event.step for event in events.Scalars("accuracy/validation")]
    assert steps == sorted(set(steps)), "one time axis through all stages"
    own = sum(report.epochs[stage] for stage in ("teacher", "student", "prune", "recover"))
    assert len(steps) == own, "a point for each pass of every stage"
    (last,) = events.Scalars("result/test accuracy")
    assert (last.step, last.value) == (steps[-1], pytest.approx(report.compact.test_accuracy))
    assert events.PluginTagToContent("hparams").keys() >= {f"_hparams_/session_{end}_info" for end in ("start", "end")}
    counts = {}
    for folder in sorted((finished / "graphs").iterdir()):
        nodes = EventAccumulator(str(folder)).Reload().Graph().node
        parts = [node for node in nodes if node.op in ("UniversalBlock", "Proxy")]
        counts[folder.name] = len(nodes), sum(node.device == "kept" for node in parts)
    left = report.compact.universal_blocks_kept + report.compact.proxies_kept
    assert counts == {"1-before-training": (80, 61), "2-after-training": (80, 61), "3-after-pruning": (80, left)}


def test_a_method_without_a_graph_has_charts_confusion_and_hparams(nettailor: CommandLine, digit_folder: Path) -> None:
    status, _, failed = nettailor("adapt", "--data", digit_folder, "--out", "run", "--method", "finetune", *QUICK)
    assert status == 0, failed
    events = EventAccumulator("run").Reload()
    tags = events.Tags()
    assert {"loss/cross entropy", "accuracy/validation", "result/test accuracy"} <= set(tags["scalars"])
    assert tags["images"] == ["confusion"]
    assert "_hparams_/session_start_info" in events.PluginTagToContent("hparams")
    assert not Path("run/graphs").exists()


def test_eval_and_predict_work_from_the_delta_alone(finished: Path, nettailor: CommandLine, digit_folder: Path) -> None:
    report = Report.read(finished / "report.json")
    status, said, _ = nettailor("eval", finished)
    assert status == 0
    assert f"{report.compact.test_accuracy:.4f} of 24 test pictures right" in said
    lonely = shutil.copytree(finished / "task", Path("lonely"))
    status, said, _ = nettailor("eval", lonely, "--data", digit_folder, "--split", "val")
    assert status == 0
    assert f"{report.compact.val_accuracy:.4f}" in said
    pictures = sorted((digit_folder / "test" / "digit 2").iterdir())[:3]
    status, said, _ = nettailor("predict", lonely, *pictures, "--top", 2)
    assert status == 0
    lines = said.strip().splitlines()
    assert [line.split("  ")[0] for line in lines] == [str(p) for p in pictures]
    assert all(line.count("digit ") >= 2 for line in lines)


def test_show_prints_and_draws_the_graph(finished: Path, nettailor: CommandLine) -> None:
    status, said, _ = nettailor("show", finished, "--svg", "graph.svg")
    assert status == 0
    assert "layer4.2" in said
    drawing = Path("graph.svg").read_text()
    net = delta.load(finished).net
    assert drawing.count("<path ") == len(net.proxies)
    assert drawing.count("stroke-dasharray") == 16 - len(net.blocks)


def test_a_finished_run_is_not_run_again(finished: Path, nettailor: CommandLine, digit_folder: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in finished.rglob("*")}
    status, said, _ = nettailor("adapt", "--data", digit_folder, "--out", finished, *QUICK)
    assert status == 0
    assert "finished already" in said
    assert "test accuracy" in said
    assert {path: path.stat().st_mtime_ns for path in finished.rglob("*")} == before


def test_the_report_counts_the_teacher_and_times_both_nets_folded_and_packed(finished: Path, tmp_path: Path) -> None:
    report = Report.read(finished / "report.json")
    assert report.teacher.params == 1_340_450 - 6 * (128 + 1), "a classifier of 4 classes, not of 10, and nothing else"
    for net in (report.teacher, report.compact):
        assert net.latency_ms > 0
        assert (net.latency_packed_ms is not None) == (can_pack() and report.device.startswith("cpu"))
    tree = json.loads((finished / "report.json").read_text())
    for section in ("teacher", "compact"):
        del tree[section]["latency_packed_ms"]
    (tmp_path / "report.json").write_text(json.dumps(tree))
    assert Report.read(tmp_path / "report.json").compact.latency_packed_ms is None, "older reports are read"


def test_the_resolved_recipe_repeats_the_run(finished: Path, nettailor: CommandLine) -> None:
    status, _, said = nettailor("adapt", "--recipe", finished / "recipe.yaml", "--out", "again")
    assert status == 0, said
    assert comparable(Path("again")) == comparable(finished)


def comparable(out: Path) -> dict[str, Any]:
    """A report without what a clock says, and the kept graph."""
    tree = json.loads((out / "report.json").read_text())
    for section in ("teacher", "compact"):
        del tree[section]["latency_ms"], tree[section]["latency_packed_ms"]
    del tree["seconds"]
    tree["versions"].pop("commit", None)  # somebody may commit while a test runs
    return {**tree, "graph": json.loads((out / "task" / "task.json").read_text())["graph"]}


@pytest.mark.slow
def test_ctrl_c_and_kill_lose_at_most_an_epoch(finished: Path, digit_folder: Path, tmp_path: Path) -> None:
    """Interrupt, kill, go on: the same accuracies and the same graph as the run that was left alone."""
    out = tmp_path / "stopped"
    command = [sys.executable, "-m", "nettailor.cli", "adapt", "--data", digit_folder, "--out", out, *QUICK]
    for stage, how in (("teacher", signal.SIGINT), ("student", signal.SIGKILL), ("prune", signal.SIGTERM)):
        process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=tmp_path,
            preexec_fn=heed_ctrl_c,
        )
        deadline = time.time() + 100
        while not (out / "checkpoint" / f"{stage}.safetensors").exists() and process.poll() is None:
            assert time.time() < deadline
            time.sleep(0.02)
        os.kill(process.pid, how)
        said, _ = process.communicate(timeout=60)
        assert process.returncode != 0, said
        if how == signal.SIGINT:
            assert process.returncode == 130
            assert "the same command goes on" in said
            assert "Traceback" not in said
        assert not (out / "report.json").exists()
    done = subprocess.run(command, check=False, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "teacher      1/1" not in done.stdout, "a finished stage ran again"
    assert comparable(out) == comparable(finished)
    assert not (out / "checkpoint").exists()
    assert not list(out.rglob("*.tmp"))


@pytest.mark.slow
def test_few_validation_pictures_are_judged_over_folds(nettailor: CommandLine, digit_folder: Path) -> None:
    status, said, err = nettailor("adapt", "--data", digit_folder, "--out", "run", *QUICK, "prune.folds=2")
    assert status == 0, err
    report = Report.read(Path("run/report.json"))
    assert report.prune is not None
    assert report.prune.drop is not None
    assert (report.prune.drop.folds, report.prune.drop.pictures) == (2, 72)
    assert "over 2 folds of the 72 training and validation pictures" in " ".join(said.split())
    assert report.epochs["folds"] > 0
    assert report.seconds["folds"] > 0
    assert [attempt["pictures"] for attempt in report.prune.recovered] == [72] * len(report.prune.recovered)
    assert not Path("run/checkpoint").exists()


@pytest.mark.slow
def test_the_papers_recipe_runs_from_the_command_line(nettailor: CommandLine, digit_folder: Path) -> None:
    quick = ["teacher.epochs=1", "student.epochs=1", "prune.epochs=1", "teacher.batch=16", "student.batch=16"]
    quick += ["prune.remove=[1,2]", "prune.proxies_below=0.001", "teacher.lr=0.002", "student.lr=0.1"]
    status, _said, err = nettailor("adapt", "--recipe", "paper", "--data", digit_folder, "--out", "paper", *quick)
    assert status == 0, err
    recipe = yaml.safe_load(Path("paper/recipe.yaml").read_text())
    assert recipe["student"]["gates"] == "softmax"
    report = Report.read(Path("paper/report.json"))
    assert [len([key for key in trial["removed"] if key[0] == "G"]) for trial in report.prune.trials] == [1, 2]
    assert report.prune.how == "paper"


@pytest.mark.slow
def test_several_tasks_over_one_backbone(nettailor: CommandLine, digit_folder: Path) -> None:
    keys = ("teacher", "student", "prune", "recover")
    shared: dict[str, Any] = {key: {} for key in keys}
    for word in QUICK:
        name, value = word.split("=")
        section, key = name.split(".")
        shared[section][key] = yaml.safe_load(value)
    tasks = [
        {"task": "one", "data": {"source": str(digit_folder)}},
        {"task": "broken", "data": {"source": "nowhere/at/all"}},
        {"task": "two", "seed": 1, "data": {"source": str(digit_folder)}},
    ]
    Path("many.yaml").write_text(yaml.safe_dump({**shared, "tasks": tasks}))
    status, said, _ = nettailor("adapt", "--recipe", "many.yaml", "--out", "all")
    assert status == 1
    assert "nowhere/at/all: no such directory" in said
    table = said[said.index("tasks over one backbone") :]
    assert [name in table for name in ("one", "two", "broken", "failed")] == [True] * 4
    before = (Path("all/two/report.json")).stat().st_mtime_ns
    tasks[1]["data"]["source"] = str(digit_folder)  # type: ignore[index]
    Path("many.yaml").write_text(yaml.safe_dump({**shared, "tasks": tasks}))
    status, said, _ = nettailor("adapt", "--recipe", "many.yaml", "--out", "all")
    assert status == 0
    assert said.count("finished already") == 2
    assert (Path("all/two/report.json")).stat().st_mtime_ns == before
    assert summary_table([Report.read(Path(f"all/{n}/report.json")) for n in ("one", "two")], {}).row_count == 2


def test_all_kinds_of_pictures_can_be_trained_on(nettailor: CommandLine, digit_folder: Path, tmp_path: Path) -> None:
    root = shutil.copytree(digit_folder, tmp_path / "mixed")
    pictures = sorted((root / "train").rglob("*.png"))
    for picture, mode in zip(pictures, ["RGBA", "CMYK", "P", "I;16", "LA", "1", "L", "RGB"] * 6, strict=True):
        image = Image.open(picture).convert("L")
        picture.unlink()
        wide = np.asarray(image).astype(np.uint16) * 257
        image = Image.fromarray(wide) if mode == "I;16" else image.convert(mode)
        image.save(picture.with_suffix(".tif" if mode in ("CMYK", "I;16") else ".png"))
    Image.new("RGB", (1, 1), "red").save(root / "train" / "digit 0" / "dot.png")
    status, _, err = nettailor("adapt", "--data", root, "--out", "mixed run", "--method", "linear", *QUICK)
    assert status == 0, err


@pytest.mark.slow
@pytest.mark.alone
def test_the_main_job_reaches_its_bars(tmp_path: Path) -> None:
    """`nettailor adapt` as a user types it, with the figures that the README promises."""
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "nettailor.cli", "adapt"], check=False, capture_output=True, text=True, cwd=tmp_path
    )
    seconds = time.perf_counter() - start
    assert done.returncode == 0, done.stderr
    report = Report.read(tmp_path / "runs" / "digits" / "report.json")
    assert report.teacher.test_accuracy - report.compact.test_accuracy <= 0.01
    assert report.removed.macs >= 0.65
    assert report.compact.task_params <= 0.1 * report.backbone.params
    stages = report.seconds
    assert 0.85 * seconds < sum(stages.values()) <= seconds, "every second is in one of its stages"
    assert sum(stages.values()) <= 4 * stages["teacher"], "a bar in seconds would be another on every machine"


@pytest.mark.slow
@pytest.mark.alone
def test_paths_that_fade_are_cut_smoothly_in_the_main_job(nettailor: CommandLine) -> None:
    """At the usual rate; at a low one paths are cut at once, and proxies fitted anew."""
    status, _, err = nettailor("adapt", "teacher.lr=0.002")
    assert status == 0, err
    report = Report.read(Path("runs/digits/report.json"))
    assert report.prune is not None
    for trial in report.prune.trials:
        assert abs(trial["before_cut"] - trial["after_cut"]) <= 0.02, "a cut is smooth"
