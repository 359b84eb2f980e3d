"""What a suite holds, as its files say it: no network is built, no tensor read."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from nettailor.artifacts.delta import read_description, task_bytes
from nettailor.suite.folder import SuiteFolder


@dataclass(frozen=True)
class TaskSummary:
    """One task of a suite; `bytes` are those of its delta."""

    name: str
    classes: int
    method: str
    blocks: int
    proxies: int
    bytes: int


@dataclass(frozen=True)
class SuiteSummary:
    """A suite; `packed` are the numbers of its blocks where it does not have all. `bytes` are those that a device needs."""

    backbone: str
    input_size: int
    packed: list[int] | None
    bytes: int
    tasks: list[TaskSummary]

    def as_dict(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def summarize(suite: Path | str) -> SuiteSummary:
    """Look into a suite's folder.

    Raises:
        FileError: there is no suite, or a file of it is missing, damaged or of a later version.
    """
    folder = SuiteFolder(Path(suite))
    index = folder.read()
    rows = []
    for name, task in index.tasks.items():
        place = folder.delta(name, task)
        said = read_description(place)
        paths = said.net_plan(place).paths
        blocks = sum(path.is_universal for path in paths)
        rows.append(TaskSummary(name, len(said.classes), said.method, blocks, len(paths) - blocks, task_bytes(place)))
    return SuiteSummary(index.backbone.name, index.input.size, index.packed, folder.bytes(index), rows)
