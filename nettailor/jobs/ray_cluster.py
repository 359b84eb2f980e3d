"""Many jobs on a Ray cluster: one task per job, with the cores and GPUs that its recipe's `machine` section asks for.

    driver: JobQueue -> Ray task: unpack backbone, run_job -> Result -> driver
                                  Event ... -> mailbox (an actor beside the driver) -> JobTable

Run folders, pictures and weights must lie on paths that all nodes see, and all nodes have the same environment. The
backbone is put into the object store once. A task whose node or worker is lost is started once more wherever there is
room, and goes on in its run folder; that folder's lock keeps it from starting while the lost one still runs.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from nettailor.artifacts.lock import wait_until_free
from nettailor.backbones.config import BackboneConfig
from nettailor.backbones.transport import PackedBackbone, pack_backbone, unpack_backbone
from nettailor.environment import MachineConfig
from nettailor.errors import UsageError
from nettailor.jobs.job import Backbones, Job, JobQueue, Result, result_of, run_job
from nettailor.progress import Display, Event, RemoteDisplay
from nettailor.views.job_table import JobTable

try:
    import ray
    from ray.exceptions import RayError, RayTaskError
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy
except ImportError as error:
    raise UsageError("--on ray: Ray is not installed; pip install 'nettailor[ray]'") from error

ATTEMPTS = 4  # of a job whose node or worker is lost
PATIENCE = 120.0  # seconds that a later attempt waits for the folder: a lost node's worker may live on for a while
POLL = 0.3  # seconds between two looks at the mailbox


@dataclass
class _Task:
    job: Job
    attempt: int


class _Mailbox:
    """Events on their way from tasks to the driver."""

    def __init__(self) -> None:
        self._events: list[Event] = []

    def put(self, event: Event) -> None:
        self._events.append(event)

    def settle(self) -> None:
        """Answered when all that the caller has put before is here."""

    def take(self) -> list[Event]:
        events, self._events = self._events, []
        return events


def run_on_ray(jobs: Sequence[Job], queue: JobQueue, display: Display, address: str | None) -> None:
    """Run a queue's jobs on a cluster until none is left.

    Args:
        address: of the cluster. If None, the one that this process is connected to already, or the one that RAY_ADDRESS or
            Ray itself names, or a new one on this machine.

    Raises:
        UsageError: there is no cluster at the address, or no node of it has what a job asks for.
        KeyboardInterrupt: after all tasks have been cancelled.
    """
    ours = not ray.is_initialized()
    if ours:
        _connect(address)
    try:
        _Driver(jobs, queue, display).run()
    finally:
        if ours:
            ray.shutdown()


def _connect(address: str | None) -> None:
    try:
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR, include_dashboard=False)
    except (ConnectionError, RuntimeError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise UsageError(f"--on ray{f'={address}' if address else ''}: can't connect ({reason})") from error


class _Driver:
    """The tasks that run, and what they need in the cluster."""

    def __init__(self, jobs: Sequence[Job], queue: JobQueue, display: Display) -> None:
        self._queue = queue
        self._table = JobTable(display, {job.name: job.stages() for job in jobs})
        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        self._mailbox: Any = ray.remote(_Mailbox).options(num_cpus=0, scheduling_strategy=here).remote()
        self._task = ray.remote(_run)
        self._backbones, self._packed = Backbones(), dict[BackboneConfig, Any]()
        self._running: dict[Any, _Task] = {}

    def run(self) -> None:
        with self._table:
            try:
                while self._fill():
                    done, _ = ray.wait(list(self._running), timeout=POLL)
                    self._show()
                    for reference in done:
                        self._end(reference)
            finally:
                for reference in self._running:
                    with suppress(RayError, ValueError):
                        ray.cancel(reference, force=True)

    def _fill(self) -> bool:
        """Submit all that may start: the cluster itself holds back what it has no room for. Whether anything runs."""
        while (job := self._queue.next()) is not None:
            if isinstance(job, Result):
                self._take_down(job)
            else:
                self._submit(_Task(job, 1))
        return bool(self._running)

    def _submit(self, task: _Task) -> None:
        job = task.job
        try:
            wanted = resources(job.recipe.machine, ray.cluster_resources().get("GPU", 0) > 0)
            _check_room(wanted)
            packed = self._backbone(job.recipe.backbone)
        except Exception as error:
            self._take_down(result_of(job, error))
            return
        where = replace(job, out=job.out.resolve(), begin_with=job.begin_with and job.begin_with.resolve())
        options = self._task.options(num_cpus=wanted["CPU"], num_gpus=wanted["GPU"], max_retries=0)
        threads = max(1, int(wanted["CPU"]))
        reference = options.remote(where, task.attempt, threads, str(Path.cwd()), packed, self._mailbox)
        self._running[reference] = task
        self._table.start(job.name, " once more" if task.attempt > 1 else "")

    def _backbone(self, config: BackboneConfig) -> Any:
        """The backbone's place in the object store, where it is put once."""
        if config not in self._packed:
            self._packed[config] = ray.put(pack_backbone(self._backbones(config)))
        return self._packed[config]

    def _end(self, reference: Any) -> None:
        task = self._running.pop(reference)
        try:
            self._take_down(ray.get(reference))
        except RayTaskError as error:  # a fault of ours around the job
            self._take_down(result_of(task.job, error))
        except RayError as error:
            reason = type(error).__name__
            if task.attempt < ATTEMPTS:
                self._table.say(task.job.name, f"its node or worker was lost ({reason}); goes on elsewhere")
                self._submit(_Task(task.job, task.attempt + 1))
            else:
                lost = f"its node or worker was lost {ATTEMPTS} times ({reason}); the same command goes on"
                self._take_down(Result(task.job.name, error=lost))

    def _take_down(self, result: Result) -> None:
        self._show()
        if result.trace:
            self._table.say(result.job, result.trace)
        self._table.end(result.job, result.error)
        self._queue.end(result)

    def _show(self) -> None:
        for event in ray.get(self._mailbox.take.remote()):
            self._table.show(event)


def resources(machine: MachineConfig, has_gpus: bool) -> dict[str, float]:
    """Cores and GPUs of one job: as the recipe says, or as many cores as threads, and one GPU where there are some."""
    cpus = machine.cpus if machine.cpus is not None else float(machine.threads or 1)
    gpus = machine.gpus if machine.gpus is not None else float(has_gpus and machine.device != "cpu")
    return {"CPU": cpus, "GPU": gpus}


def _check_room(wanted: dict[str, float]) -> None:
    """Refuse what no node of the cluster could ever run; Ray would wait for such a node for ever."""
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    if not any(all(node.get(kind, 0.0) >= amount for kind, amount in wanted.items()) for node in nodes):
        most = max((node.get("CPU", 0.0) for node in nodes), default=0.0), max(node.get("GPU", 0.0) for node in nodes)
        raise UsageError(
            f"machine: asks for {wanted['CPU']:g} cores and {wanted['GPU']:g} GPUs, but no node of the cluster has both; "
            f"the largest have {most[0]:g} and {most[1]:g}"
        )


_unpacked: dict[BackboneConfig, Any] = {}  # by the worker process, which Ray uses again for the next task


def _run(job: Job, attempt: int, threads: int, here: str, packed: PackedBackbone, mailbox: Any) -> Result:
    """The task."""
    if Path(here).is_dir():
        os.chdir(here)  # the user's own package is usually where they stand, see `user_code`
    if here not in sys.path:
        sys.path.append(here)

    def backbone(config: BackboneConfig) -> Any:
        if config not in _unpacked:
            _unpacked[config] = unpack_backbone(packed, config)
        return _unpacked[config]

    if attempt > 1:
        wait_until_free(job.out, PATIENCE)
    result = run_job(job, RemoteDisplay(job.name, mailbox.put.remote), backbone, threads)
    ray.get(mailbox.settle.remote())
    return result
