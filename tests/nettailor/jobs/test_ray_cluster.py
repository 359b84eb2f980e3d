"""What a job asks of a cluster, and what becomes of one whose node is lost.

Ray itself is left out here: a module in its place runs tasks at once. A real cluster is in tests/recipes/test_many.py.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from nettailor import jobs
from nettailor.environment import MachineConfig
from nettailor.errors import UsageError
from nettailor.jobs.job import Job, JobQueue, Result
from nettailor.jobs.recipe import Recipe
from nettailor.progress import Display
from tests import fabricated

NAME = "nettailor.jobs.ray_cluster"
NODES = [
    {"Alive": True, "Resources": {"CPU": 4.0}},
    {"Alive": True, "Resources": {"CPU": 2.0, "GPU": 1.0}},
    {"Alive": False, "Resources": {"CPU": 64.0, "GPU": 8.0}},
]


class RayError(Exception):
    pass


class RayTaskError(RayError):
    pass


class Remote:
    """Something that was made remote: calls of it are made at once, and `ray.get` gives what they ended with."""

    def __init__(self, what: Any) -> None:
        self.what = what

    def options(self, **_: Any) -> Remote:
        return self

    def remote(self, *words: Any) -> Any:
        made = self.what(*words)
        return SimpleNamespace(take=Remote(made.take)) if hasattr(made, "take") else Reference(made)


class Reference:
    def __init__(self, value: Any) -> None:
        self.value = value


def get(reference: Any) -> Any:
    if isinstance(reference.value, Exception):
        raise reference.value
    return reference.value


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The module, imported with ours in the place of Ray."""
    ray: Any = ModuleType("ray")
    ray.exceptions = SimpleNamespace(RayError=RayError, RayTaskError=RayTaskError)
    strategies = SimpleNamespace(NodeAffinitySchedulingStrategy=lambda *_, **__: None)
    ray.is_initialized, ray.nodes, ray.cluster_resources = lambda: True, lambda: NODES, lambda: {"CPU": 6.0}
    ray.get_runtime_context = lambda: SimpleNamespace(get_node_id=lambda: "here")
    ray.remote, ray.get, ray.put = Remote, get, lambda value: value
    ray.wait = lambda references, timeout: (references[:1], references[1:])
    monkeypatch.setitem(sys.modules, "ray", ray)
    monkeypatch.setitem(sys.modules, "ray.exceptions", ray.exceptions)
    monkeypatch.setitem(sys.modules, "ray.util", ModuleType("ray.util"))
    monkeypatch.setitem(sys.modules, "ray.util.scheduling_strategies", strategies)
    before = sys.modules.pop(NAME, None)
    module = importlib.import_module(NAME)
    monkeypatch.setattr(module, "pack_backbone", lambda backbone: "packed")
    monkeypatch.setattr(module, "Backbones", lambda: lambda config: "backbone")
    yield module
    del sys.modules[NAME], jobs.ray_cluster  # type: ignore[attr-defined]
    if before is not None:
        sys.modules[NAME] = jobs.ray_cluster = before  # type: ignore[attr-defined]


def run(
    cluster: Any, monkeypatch: pytest.MonkeyPatch, wanted: list[Job], ends: list[Any]
) -> tuple[JobQueue, list[Any]]:
    """Run jobs whose tasks end so, one after the other; the attempts and jobs that were submitted."""
    submitted: list[Any] = []

    def task(job: Job, attempt: int, *_: Any) -> Any:
        submitted.append((job.name, attempt))
        end = ends[len(submitted) - 1]
        return Result(job.name, fabricated.report()) if end is None else end

    monkeypatch.setattr(cluster, "_run", task)
    queue = JobQueue(wanted)
    cluster.run_on_ray(wanted, queue, Display(quiet=True), None)
    return queue, submitted


def job(name: str, *after: str, **machine: Any) -> Job:
    return Job(name, replace(Recipe(), machine=MachineConfig(**machine)), Path(name), after=after)


@pytest.mark.parametrize(
    ("machine", "has_gpus", "wanted"),
    [
        ({}, False, {"CPU": 1.0, "GPU": 0.0}),
        ({}, True, {"CPU": 1.0, "GPU": 1.0}),
        ({"device": "cpu"}, True, {"CPU": 1.0, "GPU": 0.0}),
        ({"threads": 3}, False, {"CPU": 3.0, "GPU": 0.0}),
        ({"threads": 3, "cpus": 0.5, "gpus": 0.25}, False, {"CPU": 0.5, "GPU": 0.25}),
    ],
)
def test_a_job_asks_for_what_its_recipe_says(
    cluster: Any, machine: dict[str, Any], has_gpus: bool, wanted: dict[str, float]
) -> None:
    assert cluster.resources(MachineConfig(**machine), has_gpus) == wanted


def test_what_no_living_node_has_is_refused_with_the_largest_there_are(cluster: Any) -> None:
    cluster._check_room({"CPU": 4.0, "GPU": 0.0})
    cluster._check_room({"CPU": 2.0, "GPU": 1.0})
    with pytest.raises(
        UsageError, match="asks for 4 cores and 1 GPUs, but no node of the cluster has both; the largest "
    ):
        cluster._check_room({"CPU": 4.0, "GPU": 1.0})
    with pytest.raises(UsageError, match="have 4 and 1$"):
        cluster._check_room({"CPU": 64.0, "GPU": 0.0})


def test_a_job_without_room_fails_and_the_others_run(cluster: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    queue, submitted = run(cluster, monkeypatch, [job("a", cpus=64), job("b", "a"), job("c")], [None])
    assert submitted == [("c", 1)]
    assert list(queue.outcome().reports) == ["c"]
    assert queue.failed["a"].startswith("machine: asks for 64 cores")
    assert queue.failed["b"] == "not run, because a failed"


def test_a_job_whose_node_is_lost_goes_on_elsewhere(cluster: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    queue, submitted = run(cluster, monkeypatch, [job("a"), job("b", "a")], [RayError(), RayError(), None, None])
    assert submitted == [("a", 1), ("a", 2), ("a", 3), ("b", 1)]
    assert list(queue.outcome().reports) == ["a", "b"]


def test_a_job_whose_node_is_lost_too_often_is_given_up(cluster: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    queue, submitted = run(cluster, monkeypatch, [job("a")], [RayError()] * 9)
    assert len(submitted) == cluster.ATTEMPTS
    assert queue.failed == {"a": "its node or worker was lost 4 times (RayError); the same command goes on"}


def test_a_fault_of_ours_is_not_tried_again(cluster: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    queue, submitted = run(cluster, monkeypatch, [job("a")], [RayTaskError("broken")])
    assert submitted == [("a", 1)]
    assert queue.failed == {"a": "RayTaskError: broken"}


def test_events_are_taken_once(cluster: Any) -> None:
    mailbox = cluster._Mailbox()
    mailbox.put("one")
    mailbox.put("two")
    assert mailbox.take() == ["one", "two"]
    assert mailbox.take() == []
