"""Several tasks from the real command line: in processes, killed, stopped, on a locked folder, and on a Ray cluster."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from nettailor.artifacts.lock import lock_folder
from tests.recipes.test_adapt import comparable
from tests.tiny import QUICK, heed_ctrl_c

ROOT = Path(__file__).parents[2]
TASKS = ("one", "two")
LONG = 40  # epochs of a stage in which there is time to do something to a job


def write_recipe(folder: Path, digits: Path, **changes: int) -> Path:
    """Two tasks over the tiny backbone, one thread each."""
    tree: dict[str, Any] = {"backbone": {"name": "tests.tiny:tiny_resnet", "input_size": 16}, "machine": {"threads": 1}}
    for word in QUICK:
        name, value = word.split("=")
        section, key = name.split(".")
        tree.setdefault(section, {})[key] = yaml.safe_load(value)
    for section, epochs in changes.items():
        tree[section]["epochs"] = epochs
    tree["tasks"] = [{"task": name, "seed": seed, "data": {"source": str(digits)}} for seed, name in enumerate(TASKS)]
    path = folder / "tasks.yaml"
    path.write_text(yaml.safe_dump(tree))
    return path


def command(recipe: Path, out: str, *words: str) -> list[str]:
    return [sys.executable, "-m", "nettailor.cli", "adapt", "--recipe", str(recipe), "--out", out, *words]


def begin(recipe: Path, out: str, *words: str) -> subprocess.Popen[str]:
    """Start a command in a process group of its own, as a shell does."""
    return subprocess.Popen(
        command(recipe, out, *words),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=recipe.parent,
        env=environment(),
        start_new_session=True,
        preexec_fn=heed_ctrl_c,
    )


def run(recipe: Path, out: str, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(recipe, out, *words),
        check=False,
        capture_output=True,
        text=True,
        cwd=recipe.parent,
        env=environment(),
    )


def environment() -> dict[str, str]:
    return os.environ | {"PYTHONPATH": str(ROOT)}


def until(what: Callable[[], Any], process: subprocess.Popen[str]) -> Any:
    """Wait for something to become true while a process runs; returns it."""
    deadline = time.monotonic() + 200
    while not (found := what()):
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return found


def owner(run: Path) -> int | None:
    """The process that works on a run folder and has trained an epoch in it."""
    if not (run / "checkpoint" / "teacher.safetensors").exists():
        return None
    try:
        return int(json.loads((run / ".lock").read_text())["pid"])
    except (OSError, ValueError):
        return None


def is_alive(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def session_of(leader: int) -> list[int]:
    """The living processes of a session."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[3]) == leader and fields[0] != "Z":
            found.append(int(folder.name))
    return found


@pytest.fixture(scope="module")
def alone(digit_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Both tasks in one process with one thread: what everything else is held to."""
    folder = tmp_path_factory.mktemp("alone")
    done = run(write_recipe(folder, digit_folder), "runs")
    assert done.returncode == 0, done.stderr
    return {name: comparable(folder / "runs" / name) for name in TASKS}


@pytest.mark.slow
@pytest.mark.alone
def test_two_workers_give_what_one_process_gives(alone: dict[str, Any], digit_folder: Path, tmp_path: Path) -> None:
    recipe = write_recipe(tmp_path, digit_folder)
    done = run(recipe, "runs", "--workers", "2")
    assert done.returncode == 0, done.stderr
    assert {name: comparable(tmp_path / "runs" / name) for name in TASKS} == alone
    assert "\x1b" not in done.stdout
    for name in TASKS:
        assert f"{name}: started" in done.stdout
        assert f"{name}: student      1/1  ce " in done.stdout
    assert "done (2 of 2)" in done.stdout
    assert "tasks over one backbone" in done.stdout
    again = run(recipe, "runs", "--workers", "2")
    assert again.returncode == 0
    assert again.stdout.count("finished already") == 2


@pytest.mark.slow
@pytest.mark.alone
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="reads /proc")
def test_a_killed_worker_costs_an_epoch(digit_folder: Path, tmp_path: Path) -> None:
    recipe = write_recipe(tmp_path, digit_folder, teacher=LONG)
    process = begin(recipe, "runs", "--workers", "2")
    os.kill(until(lambda: owner(tmp_path / "runs" / "two"), process), signal.SIGKILL)
    said, _ = process.communicate(timeout=300)
    assert process.returncode == 0, said
    assert "two: its worker process was killed (SIGKILL); goes on in a new one" in said
    assert "done (2 of 2)" in said
    lines = Counter(line.split("  ce ")[0] for line in said.splitlines() if ": teacher " in line)
    assert set(lines.values()) == {1}, "an epoch that was done was trained again"
    assert not [path for path in tmp_path.rglob("*") if path.name == ".lock" or path.suffix == ".tmp"]
    plain = run(recipe, "plain")
    assert plain.returncode == 0, plain.stderr
    for name in TASKS:
        assert comparable(tmp_path / "runs" / name) == comparable(tmp_path / "plain" / name)


@pytest.mark.slow
@pytest.mark.alone
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="reads /proc")
@pytest.mark.parametrize("how", ["the group, as a terminal does", "the parent alone", "the parent is killed"])
def test_stopping_leaves_no_process_behind(digit_folder: Path, tmp_path: Path, how: str) -> None:
    recipe = write_recipe(tmp_path, digit_folder, teacher=LONG)
    process = begin(recipe, "runs", "--workers", "2")
    workers = [until(lambda name=name: owner(tmp_path / "runs" / name), process) for name in TASKS]
    if how == "the parent is killed":
        process.kill()
    else:
        (os.killpg if how.startswith("the group") else os.kill)(process.pid, signal.SIGINT)
    said, _ = process.communicate(timeout=60)
    if how != "the parent is killed":
        assert process.returncode == 130
        assert "the same command goes on where it was" in said
        assert not any(is_alive(worker) for worker in workers), "they have ended before the command has"
    assert "Traceback" not in said
    deadline = time.monotonic() + 30
    while session_of(process.pid) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert session_of(process.pid) == []
    if how.startswith("the group"):
        done = run(recipe, "runs", "--workers", "2", "student.epochs=1")
        assert done.returncode == 0, done.stderr
        assert "one: teacher      1/" not in done.stdout.replace("  ", " "), "it began anew"
        assert not list(tmp_path.rglob("*.tmp"))


@pytest.mark.slow
@pytest.mark.alone
def test_a_second_process_on_a_folder_is_refused(digit_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    words = ["--data", str(digit_folder), "--backbone", "tests.tiny:tiny_resnet", "backbone.input_size=16", *QUICK]
    one = [sys.executable, "-m", "nettailor.cli", "adapt", "--out", "run", *words]
    with lock_folder(tmp_path / "run"):
        done = subprocess.run(one, check=False, capture_output=True, text=True, cwd=tmp_path, env=environment())
        assert done.returncode == 1
        assert done.stderr.startswith(f"nettailor: run: is being worked on by process {os.getpid()} on ")
        assert len(done.stderr.splitlines()) == 1
        assert [path.name for path in (tmp_path / "run").iterdir()] == [".lock"]
    (tmp_path / "run" / ".lock").write_text('{"pid": 1}')  # as a killed process leaves it
    done = subprocess.run(one, check=False, capture_output=True, text=True, cwd=tmp_path, env=environment())
    assert done.returncode == 0, done.stderr
    assert not (tmp_path / "run" / ".lock").exists()


def test_places_where_nothing_can_run(digit_folder: Path, tmp_path: Path, nettailor: Any) -> None:
    recipe = write_recipe(tmp_path, digit_folder)
    assert "--on slurm: is no place to run" in nettailor.fails("adapt", "--recipe", recipe, "--on", "slurm", status=2)
    assert "at least 1" in nettailor.fails("adapt", "--recipe", recipe, "--workers", 0, status=2)
    assert "several tasks" in nettailor.fails("adapt", "--workers", 2, status=2)


@pytest.mark.slow
def test_without_ray_the_error_says_what_to_install(tmp_path: Path, digit_folder: Path) -> None:
    (tmp_path / "ray.py").write_text("raise ImportError('as if it were not installed')\n")
    recipe = write_recipe(tmp_path, digit_folder)
    env = environment() | {"PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"}
    words = command(recipe, "runs", "--on", "ray")
    done = subprocess.run(words, check=False, capture_output=True, text=True, cwd=tmp_path, env=env)
    assert done.returncode == 2
    assert done.stderr == "nettailor: --on ray: Ray is not installed; pip install 'nettailor[ray]'\n"


@pytest.fixture
def cluster() -> Iterator[Any]:
    """A real Ray cluster on this machine: a head without cores for the driver, and two nodes of one core each."""
    pytest.importorskip("ray")
    from ray.cluster_utils import Cluster

    os.environ["PYTHONPATH"] = f"{ROOT}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"
    small = {"object_store_memory": 80 * 2**20}
    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False, **small})
    made.nodes_with_a_core = [made.add_node(num_cpus=1, **small) for _ in range(2)]
    yield made
    made.shutdown()


@pytest.mark.slow
@pytest.mark.alone
def test_a_ray_cluster_that_loses_a_node_gives_what_one_process_gives(
    cluster: Any, digit_folder: Path, tmp_path: Path
) -> None:
    recipe = write_recipe(tmp_path, digit_folder, teacher=LONG)
    process = begin(recipe, "runs", "--on", f"ray={cluster.address}")
    for name in TASKS:  # one on each node
        until(lambda name=name: owner(tmp_path / "runs" / name), process)
    cluster.remove_node(cluster.nodes_with_a_core[1], allow_graceful=False)
    said, _ = process.communicate(timeout=300)
    assert process.returncode == 0, said
    assert "was lost" in said
    assert "started once more" in said
    assert [said.count(f"{name}: done (") for name in TASKS] == [1, 1], "every job ends, none twice"
    lines = Counter(line.split("  ce ")[0] for line in said.splitlines() if ": teacher " in line)
    assert set(lines.values()) == {1}, "an epoch that was done was trained again"
    plain = run(recipe, "plain")
    assert plain.returncode == 0, plain.stderr
    for name in TASKS:
        assert comparable(tmp_path / "runs" / name) == comparable(tmp_path / "plain" / name)


@pytest.mark.slow
@pytest.mark.alone
def test_ctrl_c_cancels_tasks_on_ray(cluster: Any, digit_folder: Path, tmp_path: Path) -> None:
    recipe = write_recipe(tmp_path, digit_folder, teacher=LONG)
    process = begin(recipe, "runs", "--on", f"ray={cluster.address}")
    workers = [until(lambda name=name: owner(tmp_path / "runs" / name), process) for name in TASKS]
    os.killpg(process.pid, signal.SIGINT)
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 130, said
    assert "Traceback" not in said
    deadline = time.monotonic() + 30
    while any(is_alive(worker) for worker in workers) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not any(is_alive(worker) for worker in workers)


@pytest.mark.slow
@pytest.mark.alone
def test_what_no_node_has_room_for_fails_at_once(cluster: Any, digit_folder: Path, tmp_path: Path) -> None:
    recipe = write_recipe(tmp_path, digit_folder)
    done = run(recipe, "runs", "--on", f"ray={cluster.address}", "machine.cpus=2")
    assert done.returncode == 1
    assert "asks for 2 cores and 0 GPUs" in done.stdout
