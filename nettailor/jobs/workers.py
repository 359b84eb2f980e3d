"""Many jobs in processes of this machine: each a share of its cores, and a GPU of its own where there are some.

    parent: JobQueue -> (job) -> pipe -> worker: run_job -> pipe -> Event ..., Result -> parent: JobTable, JobQueue

Every worker has a pipe of its own, so that one that is killed can't take a lock of the others with it. A job whose worker
was lost is run once more in a new one, where it goes on. Workers are left alone by Ctrl-C, which is the parent's to
handle: it stops them. They also end when the parent is gone, however it went.
"""

from __future__ import annotations

import multiprocessing
import os
import re
import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess

import torch

from nettailor.artifacts.lock import wait_until_free
from nettailor.environment import no_interrupts, usable_cores
from nettailor.jobs.job import Backbones, Job, JobQueue, Result, run_job
from nettailor.progress import Display, Event, RemoteDisplay
from nettailor.views.job_table import JobTable

ATTEMPTS = 2  # of a job whose worker is lost: one that loses its worker twice would lose a third as well
PATIENCE = 60.0  # seconds that a second attempt waits for the folder of the first
STOP = 5.0  # seconds that a worker is given to end when it is told to
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")


@dataclass(frozen=True)
class Share:
    """What one worker has of the machine: threads, and a GPU as `CUDA_VISIBLE_DEVICES` names it."""

    threads: int
    gpu: str | None

    def environment(self) -> dict[str, str]:
        """The variables that say so to a new process; libraries read them when they are first imported."""
        found = dict.fromkeys(THREADS, str(self.threads))
        return found if self.gpu is None else {**found, "CUDA_VISIBLE_DEVICES": self.gpu}


@dataclass
class _Worker:
    """A process, our end of its pipe, and what it runs now."""

    share: Share
    process: SpawnProcess
    pipe: Connection
    job: Job | None = None
    attempt: int = 1

    def give(self, job: Job, attempt: int) -> None:
        self.job, self.attempt = job, attempt
        with suppress(OSError):  # it has been killed while it was idle, and is replaced like any other that is lost
            self.pipe.send((job, attempt))


def run_in_processes(jobs: Sequence[Job], queue: JobQueue, display: Display, count: int) -> None:
    """Run a queue's jobs in `count` processes until none is left.

    Raises:
        KeyboardInterrupt: after all workers have been stopped.
    """
    workers: list[_Worker] = []
    with JobTable(display, {job.name: job.stages() for job in jobs}) as table:
        try:
            for share in shares(count, jobs):
                workers.append(_start(share))
            while _fill(workers, queue, table):
                for worker in _ready(workers):
                    result = _hear(worker, table)
                    if result is None and worker.process.exitcode is not None:
                        result = _replace(workers, worker, table)
                    if result is not None:
                        _end(result, queue, table)
        finally:
            _stop(workers)


def shares(count: int, jobs: Sequence[Job]) -> list[Share]:
    """The machine divided between `count` workers; GPUs are not divided where a recipe names one by its number."""
    threads = max(1, usable_cores() // count)
    given = os.environ.get("CUDA_VISIBLE_DEVICES")
    gpus = [str(index) for index in range(torch.cuda.device_count())]
    if given is not None and gpus:
        gpus = [name.strip() for name in given.split(",")][: len(gpus)]
    if any(re.fullmatch(r"cuda:\d+", job.recipe.machine.device) for job in jobs):
        gpus = []
    return [Share(threads, gpus[index % len(gpus)] if gpus else None) for index in range(count)]


def _fill(workers: list[_Worker], queue: JobQueue, table: JobTable) -> bool:
    """Give idle workers what may start; whether anything runs."""
    for worker in workers:
        while worker.job is None and (job := queue.next()) is not None:
            if isinstance(job, Result):
                _end(job, queue, table)
                continue
            table.start(job.name)
            worker.give(job, 1)
    return any(worker.job is not None for worker in workers)


def _ready(workers: list[_Worker]) -> list[_Worker]:
    """The workers that have something to say or have ended, as soon as there is one."""
    busy = [worker for worker in workers if worker.job is not None]
    found = wait([end for worker in busy for end in (worker.pipe, worker.process.sentinel)])
    return [worker for worker in busy if worker.pipe in found or worker.process.sentinel in found]


def _hear(worker: _Worker, table: JobTable) -> Result | None:
    """Show what a worker has said; returns its job's result if that is among it."""
    try:
        while worker.pipe.poll():
            message = worker.pipe.recv()
            if isinstance(message, Result):
                worker.job = None
                return message
            table.show(message)
    except (EOFError, OSError):  # it has ended, in the middle of a message perhaps
        worker.process.join(STOP)
    return None


def _replace(workers: list[_Worker], lost: _Worker, table: JobTable) -> Result | None:
    """Start a new worker in the place of one that has ended, with its job; or give the job up."""
    job = lost.job
    assert job is not None
    lost.pipe.close()
    fresh = _start(lost.share)
    workers[workers.index(lost)] = fresh
    reason = _reason(lost.process.exitcode)
    if lost.attempt >= ATTEMPTS:
        return Result(job.name, error=f"its worker process {reason}, {ATTEMPTS} times; the same command goes on")
    table.say(job.name, f"its worker process {reason}; goes on in a new one")
    fresh.give(job, lost.attempt + 1)
    return None


def _reason(code: int | None) -> str:
    if code is not None and code < 0:
        try:
            name = signal.Signals(-code).name
        except ValueError:
            name = f"signal {-code}"
        return f"was killed ({name})"
    return f"ended ({code})"


def _end(result: Result, queue: JobQueue, table: JobTable) -> None:
    if result.trace:
        table.say(result.job, result.trace)
    table.end(result.job, result.error)
    queue.end(result)


def _start(share: Share) -> _Worker:
    """A new process that waits for jobs."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_work, args=(theirs, share.threads), daemon=True)
    with _environment(share.environment()), no_interrupts():
        process.start()
    theirs.close()
    return _Worker(share, process, ours)


def _stop(workers: list[_Worker]) -> None:
    """End all processes: idle ones are asked, the others are told; writes are atomic, so nothing is left half."""
    for worker in workers:
        if worker.job is not None or not worker.process.is_alive():
            worker.process.terminate()
        worker.pipe.close()  # an idle worker ends when nothing can come any more
    for worker in workers:
        worker.process.join(STOP)
        if worker.process.is_alive():
            worker.process.kill()
            worker.process.join()


@contextmanager
def _environment(values: dict[str, str]) -> Iterator[None]:
    """Variables that a process started inside sees; our own libraries have read theirs long ago."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _work(pipe: Connection, threads: int) -> None:
    """A worker's whole life: jobs come, events and results go."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    torch.set_num_threads(threads)
    backbones = Backbones()
    while True:
        try:
            job, attempt = pipe.recv()
        except (EOFError, OSError):
            return
        if attempt > 1:
            wait_until_free(job.out, PATIENCE)
        _tell(pipe, run_job(job, RemoteDisplay(job.name, partial(_tell, pipe)), backbones))


def _tell(pipe: Connection, message: Event | Result) -> None:
    """Send a message to the parent; where nobody reads any more this process ends at once, without a word.

    The thread that waits for the parent's end may be a moment later than the next message.
    """
    try:
        pipe.send(message)
    except OSError:
        os._exit(1)


def _end_with_parent() -> None:
    """End this process at once when the one that started it is gone: nobody would read what it has to say."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    wait([parent.sentinel])
    os._exit(1)
