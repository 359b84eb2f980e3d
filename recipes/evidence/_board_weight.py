"""What T tasks weigh, as Markdown: {method: reports of one board} -> one line per method, and what follows from them."""

from __future__ import annotations

from nettailor.artifacts.weight_of_tasks import TASKS, TasksWeight, weigh
from nettailor.jobs.board_rows import OURS
from nettailor.views.tables import weight_cells
from recipes.evidence._board_cells import Cells

LEGEND = f"""\
* What {", ".join(map(str, TASKS[:-1]))} and {TASKS[-1]} tasks weigh, in MiB of float32, if all are like these runs: the whole
  backbone and a delta each; only the parts of the backbone that at least one of them reads, and a delta each (the runs
  of the board stand for the tasks: other tasks may keep other blocks); or a private copy of each network, folded, with
  nothing shared. Reports of older versions don't say which parts several runs read, nor what a folded network weighs:
  as trained it is "at most" that. Deltas save from the number of tasks on from which they weigh less than private
  copies of the same networks, with the backbone / with the kept blocks; "never" where a private copy weighs no more
  than a delta, as where a method shares nothing."""


def weights(cells: Cells) -> list[str]:
    """A table of the methods, and what it says of ours."""
    found = {row.name: weigh(cells.reports[row.name]) for row in cells.board.rows if row.name in cells.reports}
    if not found:
        return []
    counts = " / ".join(map(str, TASKS))
    lines = [
        f"MiB of {counts} tasks:",
        "",
        "| | delta KiB | backbone + deltas | kept blocks + deltas | private copies | deltas save from |",
        "|---|" + "--:|" * 5,
    ]
    for name, weight in found.items():
        lines.append(f"| {name} | {weight.delta / 1024:.0f} | {' | '.join(weight_cells(weight))} |")
    return [*lines, "", *_of_ours(found), ""]


def _of_ours(found: dict[str, TasksWeight]) -> list[str]:
    """From where on our deltas save anything, and which private copies weigh less all the same."""
    ours = found.get(OURS)
    if ours is None:
        return []
    bound, least = ("", "") if ours.folded else ("at most ", "at least ")
    sizes = f"a delta of {ours.delta / 1024:.0f} KiB, a private compact net of {bound}{ours.private / 1024:.0f} KiB"
    first = ours.backbone.saves_from
    if first is None:
        lines = [f"* **A private compact net is smaller than a delta** here, so deltas never save anything: {sizes}"]
    else:
        lines = [
            f"* Deltas beside the backbone weigh less than private compact nets from {least}{first} tasks on: {sizes}"
        ]
    last = ours.backbone.bytes[-1]
    lighter = {name: weight.copies[-1] for name, weight in found.items() if weight.copies[-1] < last}
    listed = ", ".join(f"{name} {size / 2**20:.1f} MiB" for name, size in lighter.items())
    if listed:
        beside = f"our deltas with the backbone ({last / 2**20:.1f} MiB)"
        lines.append(f"* At {TASKS[-1]} tasks lighter than {beside}, as private copies: {listed}")
    return lines
