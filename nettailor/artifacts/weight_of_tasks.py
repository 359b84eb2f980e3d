"""What T tasks weigh on a device, in bytes of float32, for the networks that a method ended with.

    backbone + deltas       4 * params(backbone)          + T * delta     one backbone, whatever the tasks keep of it
    kept blocks + deltas    4 * params(union of T tasks)  + T * delta     the parts of it that at least one of T tasks reads
    private copies          T * 4 * params(folded net)                    nothing shared: each network folded, on its own

Deltas weigh what their files weigh, description included; private copies are tensors alone. Runs at hand, seeds or tasks,
stand for the T: means over them, and for the union of fewer than all of them its expectation over which they are. Of more
tasks than runs the union may be larger than that of the runs, but not than the backbone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import comb, floor
from statistics import mean

from pydantic.dataclasses import dataclass

from nettailor.artifacts.report import Report
from nettailor.schema import RECORD

TASKS = (1, 5, 20)
ELEMENT = 4  # bytes of a float32


@dataclass(config=RECORD)
class Shared:
    """Something shared and a delta for each task.

    Attributes:
        bytes: of each number of tasks.
        saves_from: the fewest tasks that weigh less so than as private copies; None where a delta weighs as much as a
            private copy, so that no number does.
    """

    bytes: list[float]
    saves_from: int | None


@dataclass(config=RECORD)
class TasksWeight:
    """What tasks weigh that were adapted by one method.

    Attributes:
        tasks: the numbers of tasks that the lists below are of.
        delta, private: bytes of one task's delta, and of its network as a private copy; means over the runs.
        folded: whether `private` is of folded networks; where reports do not say their size, it is of the networks as
            they were trained, norms and low-rank weights apart, and so an upper bound.
        backbone: with the whole backbone.
        blocks: with the parts of it that some task reads; None where reports do not say which those are.
        copies: bytes of private copies alone.
    """

    tasks: list[int]
    delta: float
    private: float
    folded: bool
    backbone: Shared
    blocks: Shared | None
    copies: list[float]


def weigh(reports: Sequence[Report], tasks: Sequence[int] = TASKS) -> TasksWeight:
    """What tasks weigh that are like these runs: of one method, over one backbone.

    Args:
        reports: one for each run, at least one.
        tasks: numbers of tasks.
    """
    nets = [report.compact for report in reports]
    delta = mean(net.task_bytes for net in nets)
    folded = all(net.private_params is not None for net in nets)
    private = ELEMENT * mean(net.params if net.private_params is None else net.private_params for net in nets)
    backbone = ELEMENT * reports[0].backbone.params
    read = _parts(reports)

    def shared(size: Callable[[int], float]) -> Shared:
        return Shared([size(count) + count * delta for count in tasks], saves_from(size, delta, private, len(nets)))

    return TasksWeight(
        tasks=list(tasks),
        delta=delta,
        private=private,
        folded=folded,
        backbone=shared(lambda _: backbone),
        blocks=None if read is None else shared(lambda count: ELEMENT * union(read, count)),
        copies=[count * private for count in tasks],
    )


def union(runs: Sequence[Mapping[str, int]], count: int) -> float:
    """Elements of the parts that at least one of `count` runs reads, on average over which of the runs those are.

    A part that k of n runs read is missing from a choice of `count` of them with probability C(n - k, count) / C(n, count).
    Runs of one method read the same tensors of a part, or some of them where they thin a block; the largest size is taken.
    """
    count = min(count, len(runs))
    total = 0.0
    for part in {name for run in runs for name in run}:
        sizes = [run[part] for run in runs if part in run]
        missing = comb(len(runs) - len(sizes), count) / comb(len(runs), count)
        total += max(sizes) * (1 - missing)
    return total


def saves_from(shared: Callable[[int], float], delta: float, private: float, runs: int) -> int | None:
    """The fewest tasks T with shared(T) + T * delta < T * private; None where there is no such T.

    Args:
        shared: bytes of what T tasks share; it grows no more beyond `runs` tasks.
        delta, private: bytes of one task.
    """
    saved = private - delta
    if saved <= 0:
        return None
    few = next((count for count in range(1, runs) if shared(count) < count * saved), None)
    return few or max(runs, floor(shared(runs) / saved) + 1)


def _parts(reports: Sequence[Report]) -> list[dict[str, int]] | None:
    """What each run reads of the backbone, part by part; of a single run without parts, what it reads as one part."""
    found = [report.compact.shared_params for report in reports]
    if len(found) == 1 and found[0] is None:
        net = reports[0].compact
        return [{"all": net.params - net.task_params}]
    return None if any(parts is None for parts in found) else [parts for parts in found if parts is not None]
