"""How a machine is divided between workers, and what becomes of a job whose worker is lost.

Whole processes are started in tests/recipes/test_many.py.
"""

from __future__ import annotations

import os
import signal
from dataclasses import replace
from multiprocessing import Pipe
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from nettailor.environment import MachineConfig
from nettailor.jobs import workers
from nettailor.jobs.job import Job, JobQueue, Result
from nettailor.jobs.recipe import Recipe
from nettailor.progress import Line
from tests import fabricated


def job(name: str) -> Job:
    return Job(name, Recipe(), Path(name))


class Table:
    """Takes down what would be shown."""

    def __init__(self) -> None:
        self.seen: list[tuple[Any, ...]] = []

    def __getattr__(self, name: str) -> Any:
        return lambda *words: self.seen.append((name, *words))


def worker(code: int | None = None) -> tuple[workers._Worker, Any]:
    """A worker whose process is none, and the other end of its pipe."""
    ours, theirs = Pipe()
    process: Any = SimpleNamespace(exitcode=code, join=lambda seconds: None)
    return workers._Worker(workers.Share(1, None), process, ours), theirs


def test_cores_and_gpus_are_divided(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)), raising=False)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    assert workers.shares(3, [job("a")]) == [workers.Share(2, None)] * 3
    assert workers.shares(20, [job("a")]) == [workers.Share(1, None)] * 20
    monkeypatch.setenv("OMP_NUM_THREADS", "4")
    assert workers.shares(2, [job("a")]) == [workers.Share(2, None)] * 2
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert [share.gpu for share in workers.shares(3, [job("a")])] == ["0", "1", "0"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5, 7")
    assert [share.gpu for share in workers.shares(3, [job("a")])] == ["5", "7", "5"]
    assert workers.Share(2, "5").environment() == {
        "OMP_NUM_THREADS": "2",
        "MKL_NUM_THREADS": "2",
        "CUDA_VISIBLE_DEVICES": "5",
    }
    named = replace(job("a"), recipe=replace(Recipe(), machine=MachineConfig(device="cuda:1")))
    assert [share.gpu for share in workers.shares(2, [named])] == [None, None]


def test_a_new_process_alone_sees_its_share(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    with workers._environment(workers.Share(2, "5").environment()):
        assert (os.environ["OMP_NUM_THREADS"], os.environ["CUDA_VISIBLE_DEVICES"]) == ("2", "5")
    assert os.environ["OMP_NUM_THREADS"] == "7"
    assert "CUDA_VISIBLE_DEVICES" not in os.environ


def test_ctrl_c_is_put_off_while_a_process_starts() -> None:
    if not hasattr(signal, "pthread_sigmask"):
        pytest.skip("this system masks no signals")
    with workers.no_interrupts():
        assert signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, set())
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, set())


def test_idle_workers_get_what_may_start_and_failures_are_taken_down() -> None:
    (one, far), (two, _) = worker(), worker()
    queue = JobQueue([job("a"), replace(job("b"), after=("a",)), job("c")])
    table: Any = Table()
    queue.end(Result("a", error="broken"))
    assert queue.next() == job("a")
    assert workers._fill([one, two], queue, table)
    assert far.recv() == (job("c"), 1)
    assert (one.job, two.job) == (job("c"), None)
    assert table.seen == [("end", "b", "not run, because a failed"), ("start", "c")]


def test_a_worker_is_heard_until_its_result() -> None:
    one, far = worker()
    one.give(job("a"), 1)
    table: Any = Table()
    far.send(Line("a", "reading"))
    assert workers._hear(one, table) is None
    assert one.job is not None
    far.send(Result("a", fabricated.report()))
    assert workers._hear(one, table) == Result("a", fabricated.report())
    assert one.job is None, "idle again"
    assert table.seen == [("show", Line("a", "reading"))]
    far.close()
    assert workers._hear(one, table) is None, "it has ended"


def test_a_job_whose_worker_is_lost_is_run_once_more_and_then_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    lost, _ = worker(-signal.SIGKILL)
    (second, far), (third, _) = worker(3), worker()
    fresh = iter([second, third])
    monkeypatch.setattr(workers, "_start", lambda share: next(fresh))
    lost.give(job("a"), 1)
    every, table = [lost], Table()
    assert workers._replace(every, lost, table) is None  # type: ignore[arg-type]
    assert every == [second]
    assert far.recv() == (job("a"), 2)
    assert table.seen == [("say", "a", "its worker process was killed (SIGKILL); goes on in a new one")]
    result = workers._replace(every, second, table)  # type: ignore[arg-type]
    assert result == Result("a", error="its worker process ended (3), 2 times; the same command goes on")
    assert every == [third], "the others still have a worker in its place"


def test_a_worker_whose_parent_is_gone_ends_without_a_word(monkeypatch: pytest.MonkeyPatch) -> None:
    ended: list[int] = []
    monkeypatch.setattr(os, "_exit", ended.append)
    ours, theirs = Pipe()
    workers._tell(theirs, Line("a", "still read"))
    assert (ours.recv(), ended) == (Line("a", "still read"), [])
    ours.close()
    workers._tell(theirs, Line("a", "read by nobody"))
    assert ended == [1]
