"""What paths cost: MACs, parameters, or milliseconds measured on this device.

    backbone, plan -> measure_costs -> CostTable -> costs.json -> CostTable.read -> prices -> the penalty and pruning

`nettailor profile MODEL` writes a table; `cost: latency` in a recipe uses one, or measures its own into the run's folder.
Milliseconds are of folded parts, measured in blocks/latency.py. A table belongs to an architecture at one input size,
whatever its weights; another device's table is used as it is, because that may be what it was measured for.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import ClassVar, Literal

import torch
from pydantic.dataclasses import dataclass

from blocks import Backbone, CostModel, Path, Plan, TailoredNet
from blocks.latency import ROUNDS, Timing, Watch, part_timings, unwatched
from blocks.proxies import AUTO
from blocks.thinned import PARTS
from nettailor.environment import device_name, versions
from nettailor.errors import FileError
from nettailor.schema import RECORD, Record

FORMAT: Literal[1] = 1
Unit = Literal["macs", "params", "latency"]


@dataclass(config=RECORD, frozen=True)
class PathCost:
    """One universal block or proxy. `key` is the path's ("G5", "A3-5"), `name` the block that it is or stands beside."""

    key: str
    form: str
    name: str
    macs: int
    params: int
    ms: float
    iqr_ms: float


@dataclass(config=RECORD, frozen=True)
class WholeCost:
    """The whole backbone against the sum of its parts, in milliseconds; `head` with its source classifier."""

    ms: float
    iqr_ms: float
    stem_ms: float
    head_ms: float
    sum_of_parts_ms: float


@dataclass(config=RECORD, frozen=True)
class CostTable(Record):
    """What `nettailor profile` measured."""

    remedy: ClassVar[str] = "measure anew with nettailor profile"

    backbone: str
    architecture: str
    input_size: int
    batch: int
    threads: int
    device: str
    whole: WholeCost
    paths: list[PathCost]
    versions: dict[str, str]
    format: Literal[1] = FORMAT


def measure_costs(
    backbone: Backbone,
    plan: Plan,
    batch: int,
    threads: int,
    device: torch.device,
    rounds: int = ROUNDS,
    watch: Watch = unwatched,
    forms: Mapping[str, str] | None = None,
) -> CostTable:
    """Time every block of a backbone and every proxy of a plan, each alone, and the whole backbone.

    All are folded first, and what a task adds to a kernel is merged into it, so a row is what a compact net takes for it. A
    block is timed with its activation, a proxy with its resampling. Blocks run in the network's own order.

    Args:
        forms: of proxies that are otherwise than the plan says, by the keys of their paths.
    """
    student = TailoredNet(backbone.to(device), 2, plan).to(device).eval()
    student.reform(forms or {})
    times = part_timings(student, batch, threads, rounds, watch)
    parts = sum(times[path.key].ms for path in student.paths if path.is_universal)
    whole, stem, head = times["whole"], times["stem"].ms, times["head"].ms
    return CostTable(
        backbone=backbone.name,
        architecture=architecture(backbone),
        input_size=backbone.spec.size,
        batch=batch,
        threads=threads,
        device=device_name(device).split(",")[0],
        whole=WholeCost(whole.ms, whole.iqr_ms, stem, head, stem + head + parts),
        paths=[_path_cost(student, path, times[path.key]) for path in student.paths],
        versions=versions(),
    )


def architecture(backbone: Backbone) -> str:
    """sha256 over the blocks' names and shapes and the tensors' names and shapes, not over their values."""
    shapes = sorted((name, tuple(tensor.shape)) for name, tensor in backbone.tensors().items())
    return hashlib.sha256(repr((backbone.block_names, backbone.shapes, shapes)).encode()).hexdigest()


def cost_model(
    student: TailoredNet, unit: Unit, table: CostTable | None = None, where: str = "cost table"
) -> CostModel:
    """The cost of every path of a student in one unit, and of what is beside the paths.

    Args:
        table: needed for latency.
        where: what the table is called in messages.

    Raises:
        FileError: the table is another architecture's or input size's, or lacks one of the student's proxies.
    """
    if unit != "latency":
        return student.cost_model_in(unit)
    if table is None:
        raise ValueError("latency needs a cost table")
    backbone = student.backbone
    if table.architecture != architecture(backbone):
        raise FileError(
            where,
            f"was measured on {table.backbone} at {table.input_size} px, not on this {backbone.name} at "
            f"{backbone.spec.size} px; measure anew with nettailor profile",
        )
    measured = {(row.key, row.form): row.ms for row in table.paths}
    missing = [path for path in student.paths if (path.key, path.form) not in measured]
    if missing:
        remedy = f"measure anew with nettailor profile --skips {student.plan.skips} --proxies {student.plan.proxies}"
        if missing[0].form in PARTS and student.plan.proxies == AUTO:
            remedy = "its width was chosen for this student: leave cost_table out, and the run measures its own"
        raise FileError(where, f"has no {missing[0].form} {missing[0].key}; {remedy}")
    found = {path: measured[path.key, path.form] for path in student.paths}
    return CostModel(unit, found, table.whole.stem_ms + table.whole.head_ms, table.whole.ms)


def _path_cost(student: TailoredNet, path: Path, timing: Timing) -> PathCost:
    cost, name = student.costs[path], student.backbone.block_names[path.target - 1]
    return PathCost(path.key, path.form, name, cost.macs, cost.params, timing.ms, timing.iqr_ms)
