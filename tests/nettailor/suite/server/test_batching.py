"""The queue: who waits for whom, and that every job gets its own rows."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

pytest.importorskip("fastapi")
pytest.importorskip("prometheus_client")
pytest.importorskip("python_multipart")
pytest.importorskip("uvicorn")
import torch

from nettailor.suite.server.batching import Batcher, Job
from nettailor.suite.server.current import Loaded
from nettailor.suite.server.settings import ServeSettings
from tests.nettailor.suite.server.brightness import TASKS, Brightness

PATIENT = ServeSettings(max_batch=4, max_wait_ms=5000)


@pytest.fixture
def loaded() -> Loaded:
    return Loaded(Brightness(TASKS), "one", tuple(TASKS), {task: tuple(names) for task, names in TASKS.items()})


@pytest.fixture
def batches() -> list[int]:
    return []


@pytest.fixture
def batcher(batches: list[int]) -> Iterator[Batcher]:
    made = Batcher(PATIENT, lambda pictures, seconds: batches.append(pictures))
    yield made
    if made.alive:
        made.close()


def job(loaded: Loaded, *shades: int, tasks: tuple[str, ...] = ("day",)) -> Job:
    images = torch.stack([torch.full((3, 8, 8), shade, dtype=torch.uint8) for shade in shades])
    return Job(images, tasks, 1, loaded)


def labels(done: Job, task: str = "day") -> list[str]:
    return [row[0][0] for row in done.future.result(10)[task]]


def test_every_job_gets_its_own_rows(batcher: Batcher, loaded: Loaded, batches: list[int]) -> None:
    jobs = [
        job(loaded, 0),
        job(loaded, 255, 128),
        job(loaded, 0, tasks=("lamp", "day")),
        job(loaded, 128, 0, 255, 0, 255),
    ]
    for one in jobs:
        batcher.submit(one)
    batcher.start()
    assert [labels(one) for one in jobs] == [
        ["night"],
        ["noon", "dusk"],
        ["night"],
        ["dusk", "night", "noon", "night", "noon"],
    ]
    assert labels(jobs[2], "lamp") == ["off"]
    assert batches == [3, 1, 5]
    assert max(size for size, _ in loaded.suite.calls) == PATIENT.max_batch, "a larger job goes through in parts"


def test_a_job_waits_only_while_another_is_being_decoded(batcher: Batcher, loaded: Loaded, batches: list[int]) -> None:
    batcher.start()
    started = time.monotonic()
    alone = job(loaded, 0)
    batcher.submit(alone)
    assert labels(alone) == ["night"]
    assert time.monotonic() - started < 2, "nobody else is there"
    first, second = job(loaded, 0), job(loaded, 255)
    with batcher.coming():
        batcher.submit(first)
        with pytest.raises(TimeoutError):
            first.future.result(0.1)
        batcher.submit(second)
    assert labels(first) + labels(second) == ["night", "noon"]
    assert batches == [1, 2]


def test_a_full_batch_waits_for_nobody(batcher: Batcher, loaded: Loaded) -> None:
    batcher.start()
    with batcher.coming():
        full = job(loaded, 0, 0, 0, 0)
        batcher.submit(full)
        assert labels(full) == ["night"] * 4


def test_two_states_of_a_suite_are_never_one_batch(batcher: Batcher, loaded: Loaded) -> None:
    other = Loaded(Brightness({"day": ["a", "b"]}), "two", ("day",), {"day": ("a", "b")})
    jobs = [job(loaded, 255), job(other, 255)]
    for one in jobs:
        batcher.submit(one)
    batcher.start()
    assert [labels(one) for one in jobs] == [["noon"], ["b"]]


def test_a_job_that_nobody_waits_for_is_not_computed(batcher: Batcher, loaded: Loaded) -> None:
    gone, wanted = job(loaded, 0), job(loaded, 255)
    batcher.submit(gone).cancel()
    batcher.submit(wanted)
    batcher.start()
    assert labels(wanted) == ["noon"]
    assert loaded.suite.calls == [(1, ["day"])]


def test_closing_answers_what_is_queued_and_takes_nothing_new(batcher: Batcher, loaded: Loaded) -> None:
    loaded.suite.open.clear()
    jobs = [job(loaded, 0, 0, 0, 0), job(loaded, 255)]
    batcher.start()
    for one in jobs:
        batcher.submit(one)
    assert loaded.suite.busy.wait(10)
    closing = threading.Thread(target=batcher.close)
    closing.start()
    loaded.suite.open.set()
    closing.join(10)
    assert [labels(one) for one in jobs] == [["night"] * 4, ["noon"]]
    with pytest.raises(RuntimeError, match="closed"):
        batcher.submit(job(loaded, 0))
