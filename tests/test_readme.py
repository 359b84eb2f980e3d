"""The README's code runs, and its claims about size hold."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import statistics
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from socket import socket
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

import pytest
import torch

from nettailor.artifacts.predictions import Predictions
from nettailor.cli.main import main
from nettailor.cli.verbs import VERBS
from nettailor.jobs import adapt as adapting
from nettailor.jobs.context import resolve
from nettailor.jobs.recipe import Recipe
from nettailor.pruning import prune as pruning
from nettailor.pruning.config import PruneConfig
from nettailor.pruning.criterion import Drop
from nettailor.training import stages as training
from nettailor.training.config import RecoverConfig, StudentConfig, TeacherConfig
from recipes.benchmarks import loader, peak_memory
from tests import fabricated
from tests.conftest import CommandLine
from tests.tiny import QUICK

DOCS = Path(__file__).parents[1] / "docs"
README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")


def python_block() -> str:
    (block,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    return block


@pytest.mark.slow
def test_the_api_fits_in_fifteen_lines_and_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With one epoch for each stage; the slow test of the main job holds the full figures."""
    assert len(python_block().strip().splitlines()) <= 15
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(training, "TeacherConfig", partial(TeacherConfig, epochs=1, lr=2e-3, start="fresh"))
    monkeypatch.setattr(training, "StudentConfig", partial(StudentConfig, epochs=1, warm_start=64, views=0))
    monkeypatch.setattr(training, "RecoverConfig", partial(RecoverConfig, epochs=1))
    monkeypatch.setattr(
        pruning, "PruneConfig", partial(PruneConfig, epochs=1, shrink=0.4, patience=0, importance="gate")
    )
    exec(compile(python_block(), "README.md", "exec"), {})
    assert (tmp_path / "digits-delta" / "task.json").is_file()


def shell_lines(heading: str) -> list[list[str]]:
    """The `nettailor` commands of the first block of a section, as words."""
    section = README[README.index(f"## {heading}") :]
    block = re.findall(r"```sh\n(.*?)```", section, re.DOTALL)[0]
    return [shlex.split(line, comments=True) for line in block.splitlines()]


@pytest.mark.slow
@pytest.mark.extra
def test_three_tasks_become_an_export_a_suite_a_server_and_a_page(
    nettailor: CommandLine, digit_folder: Path, tmp_path: Path
) -> None:
    """The eight commands as they stand, with short trainings."""
    for package in ("onnx", "onnxruntime", "fastapi", "uvicorn"):
        pytest.importorskip(package)
    shutil.copyfile(next(digit_folder.rglob("*.png")), "picture.png")
    *lines, serve = shell_lines("Many tasks, one backbone")
    assert len(lines) == 7
    for words in lines:
        status, said, err = nettailor(*words[1:], *((*QUICK, "data.train_limit=200") if words[1] == "adapt" else ()))
        assert status == 0, err
        if "predict" in words:
            assert "low" in said
            assert "high" in said
    assert Path("runs/digits/export/digits.onnx").is_file()
    page = Path("numbers.html").read_text(encoding="utf-8")
    assert all(f">{name}<" in page or f'"{name}"' in page for name in ("digits", "low", "high"))
    with socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "nettailor.cli", *serve[1:], "--port", str(port)]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    try:
        tasks = _answer(f"http://127.0.0.1:{port}/tasks", server)
        assert all(name in tasks for name in ("digits", "low", "high"))
    finally:
        server.terminate()
        _, said = server.communicate(timeout=30)
    assert server.returncode == 0, said


def _answer(address: str, server: subprocess.Popen[str]) -> str:
    """What a server says as soon as it answers."""
    for _ in range(300):
        assert server.poll() is None, server.communicate()[1]
        try:
            with urlopen(address, timeout=5) as answer:
                return str(answer.read().decode())
        except URLError:
            time.sleep(0.1)
    raise AssertionError(f"{address} does not answer")


def test_every_verb_and_option_that_the_readme_shows_exists(capsys: pytest.CaptureFixture[str]) -> None:
    shown = set(re.findall(r"^nettailor (\w+)", README, re.MULTILINE))
    assert shown <= set(VERBS)
    for verb in shown:
        assert main([verb, "--help"]) == 0
    told = capsys.readouterr().out
    for flag in set(re.findall(r"nettailor [^#\n`]*?(--[a-z-]+)", README)):
        assert flag in told, flag


def test_how_a_run_is_repeated_is_said_as_it_is_done(nettailor: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    """The command itself, on a recipe that a run would have written; nothing is trained."""
    (line,) = re.findall(r"^nettailor (adapt --recipe runs/digits/recipe\.yaml .*?) *#", README, re.MULTILINE)
    ran: list[tuple[Recipe, Path]] = []
    monkeypatch.setattr(adapting, "adapt", lambda recipe, out, _: (ran.append((recipe, out)), fabricated.report())[1])
    first = Recipe(seed=5)
    first.write(Path("runs/digits/recipe.yaml"))
    assert nettailor(*shlex.split(line))[0] == 0
    ((again, out),) = ran
    assert again == resolve(first)
    assert out != Path("runs/digits"), "in its own folder a finished run is not run again"
    section = README[README.index("## What comes out") :]
    assert "with another `--out` to repeat" in section


def bench(name: str) -> Any:
    return json.loads((DOCS / "bench" / f"{name}.json").read_text(encoding="utf-8"))


def interval(ratio: dict[str, Any]) -> str:
    low, high = ratio["interval"]
    return f"{ratio['value']:.2f} [{low:.2f}, {high:.2f}]"


def test_the_benchmarks_figures_are_those_of_their_raw_files() -> None:
    """The README's, and those in the text that a benchmark opens with."""
    text = " ".join(README.split())
    local, end_to_end = (bench("step")["rows"][0]["ratios"][name] for name in ("local", "end_to_end"))
    assert f"takes {interval(local)} plain steps matched locally, {interval(end_to_end)} end to end" in text
    (embedded,) = bench("step_embedded")["rows"]
    default, anew = (embedded["ratios"][name] for name in ("default", "answers_anew"))
    said = f"takes {interval(default)} over the embedded backbone, {anew['value']:.2f} where the teacher answers"
    assert said in text
    workers = bench("workers")
    seeds = {3: "three", 4: "four", 5: "five"}[workers["options"]["seeds"]]
    assert f"Two workers take {interval(workers['ratio'])} of the time of one, over {seeds} seeds" in text
    memory = bench("peak_memory")
    assert f"([{memory['ratio']:.2f} times](docs/bench/peak_memory.json)" in text
    plain, adapt = (max(memory["peaks"][name]["stages"].values()) / 2**20 for name in ("plain", "adapt"))
    said = f"{adapt:.0f} / {plain:.0f} MiB = {memory['ratio']:.2f}, {memory['ratio_above_loaded']:.2f} above what is loaded"
    assert said in " ".join((peak_memory.__doc__ or "").split())
    assert memory["ratio"] <= peak_memory.LARGEST_RATIO
    rows = bench("compact")["rows"]
    last = [row for row in rows if row["model"] == "torchvision/resnet18" and row["wanted"] == 0.25]
    rest = [row["time_over_macs"] for row in rows if row not in last]
    assert f"time over MACs is {min(rest):.2f} to {max(rest):.2f} of the model's" in text
    assert f"but {_span([row['time_over_macs'] for row in last])} for ResNet-18 at a quarter" in text
    assert f"of 0.25 of the MACs takes {_span([row['time_to_folded_backbone'] for row in last])} of the time" in text
    times = {part: [row["time"] for row in bench("export")["rows"] if row["wanted"] == part] for part in (0.5, 0.25)}
    assert f"MACs take {_span(times[0.5])} of the backbone's time in onnxruntime and OpenVINO, of a quarter" in text
    assert f"of a quarter {_span(times[0.25])} ([export.json]" in text
    served = bench("serve")["rows"]
    assert f"answered {sum(row['requests'] for row in served):,} requests without a failure" in text
    assert sum(row["failed"] for row in served) == 0
    for row in served:
        figures = f"{row['per_second']:.0f} | {row['p50_ms']:.1f} | {row['p99_ms']:.1f}"
        line = f"| {row['clients']} | {row['requests']:,} | {row['failed']} | {figures} |"
        assert line in (DOCS / "serving.md").read_text(encoding="utf-8")


def _span(values: list[float]) -> str:
    return f"{min(values):.2f} to {max(values):.2f}"


def test_raw_files_of_benchmarks_hold_medians_and_say_what_made_them() -> None:
    """Their ratios are those of the medians of their own times."""
    for path in sorted((DOCS / "bench").glob("*.json")):
        found = bench(path.stem)
        if path.stem != "peak_memory":
            assert found["versions"]["commit"], path.stem
    for row in bench("compact")["rows"]:
        assert row["time"] == pytest.approx(statistics.median(row["ms"]) / statistics.median(row["backbone_ms"]))
    for row in bench("step")["rows"]:
        for name, ratio in row["ratios"].items():
            assert ratio["value"] == pytest.approx(
                statistics.median(row["ms"][name]) / statistics.median(row["ms"]["plain"])
            )
            assert ratio["interval"][1] - ratio["interval"][0] <= 0.05 * ratio["value"]


def test_what_reading_costs_is_what_the_raw_file_says() -> None:
    speed, memory = (bench("loader")[part] for part in ("speed", "memory"))
    seconds = speed["seconds"]
    said = []
    for name in ("photo", "photo from files"):
        ratio = statistics.median(seconds[name]) / statistics.median(seconds["in memory"])
        assert ratio == pytest.approx(speed["ratios"][name])
        assert ratio <= loader.SLOWEST
        rounds = [one / memorised for one, memorised in zip(seconds[name], seconds["in memory"], strict=True)]
        said.append((ratio, f"{min(rounds):.2f} to {max(rounds):.2f}"))
    (held, of_held), (streamed, of_streamed) = said
    text = " ".join((DOCS / "how_it_works.md").read_text(encoding="utf-8").split())
    assert f"takes {held:.2f} of one over unvaried pictures in memory (medians; {of_held} round by round)" in text
    assert f"one from files {streamed:.2f} ({of_streamed}); 10,000 pictures" in text
    assert f"take {memory['ratio']:.3f} times the memory of 1,000" in text
    assert memory["ratio"] <= loader.LARGEST


def test_what_photographs_cost_is_what_the_reports_say() -> None:
    folder, runs = DOCS / "bench" / "photographs", ("budget", "budget-seed-1")
    reports = [json.loads((folder / f"{name}.json").read_text()) for name in runs]

    def percent(net: str) -> list[str]:
        return [f"{100 * report[net]['test_accuracy']:.1f}" for report in reports]

    times = [f"{report['compact']['latency_ms'] / report['teacher']['latency_ms']:.2f}" for report in reports]
    own = [f"{report['compact']['task_params'] / report['backbone']['params']:.0%}"[:-1] for report in reports]
    drops = []
    for name, report in zip(runs, reports, strict=True):
        test = Predictions.read(folder / f"{name}-predictions.json").test
        teacher, net = (torch.tensor(test.right(each)) for each in ("teacher", "compact"))
        drops.append(Drop.between(teacher, net))
        assert float(net.double().mean()) == pytest.approx(report["compact"]["test_accuracy"])
    losses = " and ".join(f"{drop.low:.1f} to {drop.high:.1f}" for drop in drops)
    words = " ".join(README.split())
    assert f"95 % intervals of the loss {losses} points" in words
    assert f"right for {' and '.join(percent('compact'))} % where its fine-tuned teacher" in words
    assert f"is for {' and '.join(percent('teacher'))} %" in words
    assert f"in {' and '.join(times)} of the time; {' and '.join(own)} % of the backbone's parameters" in words


def test_what_photographs_cost_pruned_by_channels_is_what_the_report_says() -> None:
    folder = DOCS / "bench" / "photographs"
    ours, theirs = (json.loads((folder / f"{name}.json").read_text()) for name in ("budget", "channel_pruning"))
    assert sum(theirs["epochs"].values()) == 96
    assert round(sum(ours["epochs"].values())) == 100
    answers = [Predictions.read(folder / f"{name}-predictions.json").test for name in ("budget", "channel_pruning")]
    assert answers[0].right("teacher") == answers[1].right("teacher")
    drop = Drop.between(*(torch.tensor(test.right("compact")) for test in answers))
    words = " ".join((DOCS / "how_it_works.md").read_text(encoding="utf-8").split())
    assert (
        f"right for {100 * theirs['compact']['test_accuracy']:.1f} % (seed 0 alone: {drop.points:.1f} points" in words
    )
    assert f"points fewer, {drop.low:.1f} to {drop.high:.1f} by the paired answers" in words
