"""Requests of one moment as one batch: a queue, and the one thread that runs networks.

submit(pictures, tasks) -> future         thread: jobs that wait -> groups of the same suite and tasks -> probabilities

A job waits for others only while some are being decoded, and for `max_wait_ms` at most: a single client never does.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from torch import Tensor

from blocks.trace import TRACING
from nettailor.suite.server.current import Loaded
from nettailor.suite.server.settings import ServeSettings

log = logging.getLogger("nettailor.serve")
Answers = dict[str, list[list[tuple[str, float]]]]
"""By task, for each picture its most probable classes with their probabilities."""


@dataclass
class Job:
    """One request's pictures, uint8 (n, 3, S, S), and what is asked of each."""

    images: Tensor
    tasks: tuple[str, ...]
    top: int
    loaded: Loaded
    future: Future[Answers] = field(default_factory=Future)


class Batcher:
    """Answers jobs on a thread of its own."""

    def __init__(self, settings: ServeSettings, observe: Callable[[int, float], None]) -> None:
        """`observe` is told the pictures and the seconds of every batch."""
        self._most = settings.max_batch
        self._wait = settings.max_wait_ms / 1000
        self._observe = observe
        self._changed = threading.Condition()
        self._jobs: deque[Job] = deque()
        self._coming = 0
        self._closed = False
        self._thread = threading.Thread(target=self._work, name="networks", daemon=True)

    def start(self) -> None:
        """Begin to answer."""
        self._thread.start()

    @property
    def alive(self) -> bool:
        """Jobs are answered."""
        return self._thread.is_alive()

    @property
    def waiting(self) -> int:
        """Pictures in the queue."""
        with self._changed:
            return sum(len(job.images) for job in self._jobs)

    @contextmanager
    def coming(self) -> Iterator[None]:
        """Around the decoding of pictures: a batch that is being gathered may wait for them."""
        with self._changed:
            self._coming += 1
        try:
            yield
        finally:
            with self._changed:
                self._coming -= 1
                self._changed.notify_all()

    def submit(self, job: Job) -> Future[Answers]:
        """Queue a job.

        Raises:
            RuntimeError: the server is shutting down.
        """
        with self._changed:
            if self._closed:
                raise RuntimeError("closed")
            self._jobs.append(job)
            self._changed.notify_all()
        return job.future

    def close(self) -> None:
        """Answer what is queued, then end the thread."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._thread.join()

    def _work(self) -> None:
        while jobs := self._gathered():
            wanted = [job for job in jobs if job.future.set_running_or_notify_cancel()]
            groups: dict[tuple[int, tuple[str, ...]], list[Job]] = {}
            for job in wanted:
                groups.setdefault((id(job.loaded), job.tasks), []).append(job)
            for group in groups.values():
                self._answer(group)

    def _gathered(self) -> list[Job]:
        """The jobs of the next batch, oldest first; none where it is time to end."""
        with self._changed:
            while not self._jobs and not self._closed:
                self._changed.wait()
            end = time.monotonic() + self._wait
            while self._coming and not self._closed and sum(len(job.images) for job in self._jobs) < self._most:
                if (left := end - time.monotonic()) <= 0:
                    break
                self._changed.wait(left)
            taken: list[Job] = []
            while self._jobs and (not taken or sum(len(job.images) for job in (*taken, self._jobs[0])) <= self._most):
                taken.append(self._jobs.popleft())
            return taken

    def _answer(self, group: list[Job]) -> None:
        started = time.perf_counter()
        try:
            with TRACING:  # a changed suite may be loading beside, and cutting its backbone traces it
                found = _probabilities(group, self._most)
            first = 0
            for job in group:
                last = first + len(job.images)
                rows = {task: table[first:last] for task, table in found.items()}
                job.future.set_result({task: _best(job, task, table) for task, table in rows.items()})
                first = last
        except Exception as error:  # the thread must live on; the requests of this group get the error
            log.exception("a batch of %s failed", ", ".join(group[0].tasks))
            for job in group:
                if not job.future.done():
                    job.future.set_exception(error)
        self._observe(sum(len(job.images) for job in group), time.perf_counter() - started)


@torch.inference_mode()
def _probabilities(group: list[Job], most: int) -> dict[str, Tensor]:
    """Of all pictures of a group, on the CPU (n, K), by task; no more than `most` pictures are computed together."""
    suite, tasks = group[0].loaded.suite, list(group[0].tasks)
    images = torch.cat([job.images for job in group])
    parts = [suite(part, tasks) for part in images.split(most)]
    return {task: torch.cat([part[task] for part in parts]).float().softmax(1).cpu() for task in tasks}


def _best(job: Job, task: str, table: Tensor) -> list[list[tuple[str, float]]]:
    classes = job.loaded.classes[task]
    best = table.topk(min(job.top, len(classes)))
    return [
        [(classes[i], p) for i, p in zip(row, chances, strict=True)]
        for row, chances in zip(best.indices.tolist(), best.values.tolist(), strict=True)
    ]
