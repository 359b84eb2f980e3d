"""The page of a shared prefix, and the raw figures that it is made of.

runs -> Figures -> docs/suite/shared_prefix.json -> page -> docs/suite/shared_prefix.md
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from typing import Literal

from pydantic.dataclasses import dataclass

from nettailor.schema import RECORD, Record

FINETUNE, BASE = "finetune", "n0"
GOAL_TIME, GOAL_POINTS, GOAL_TASKS = 0.5, 0.5, 8


@dataclass(config=RECORD, frozen=True)
class Cell:
    """One finished run: the network of a task, `finetune` or `n` and the length of its prefix."""

    task: str
    name: str
    test_pictures: int
    classes: int
    test_accuracy: float
    val_accuracy: float
    macs: int
    params: int
    task_params: int
    universal_blocks: int
    proxies: int
    seconds: float
    seed: int
    device: str


@dataclass(config=RECORD, frozen=True)
class Ratio:
    """A ratio of two medians, and the ends of its 95 % interval."""

    value: float
    low: float
    high: float


@dataclass(config=RECORD, frozen=True)
class Together:
    """Some tasks on one picture, by name: `finetune` and `n5` are networks by themselves, `n5 shared` run together.

    A task that stands among them several times stands in for others: its time is theirs, its accuracy is not.
    `times_n0` are milliseconds as parts of those of `n0`.
    """

    tasks: list[str]
    macs: dict[str, int]
    ms: dict[str, float]
    times_n0: dict[str, Ratio]


@dataclass(config=RECORD, frozen=True)
class Figures(Record):
    """All that the page says."""

    backbone: str
    backbone_macs: int
    blocks: int
    prefixes: list[int]
    overrides: list[str]
    budgets: list[float] | None
    tasks: list[str]
    unfinished: list[str]
    cells: list[Cell]
    together: list[Together]
    device: str
    versions: dict[str, str]
    format: Literal[1] = 1

    def cell(self, task: str, name: str) -> Cell:
        """The run of a task."""
        return next(cell for cell in self.cells if (cell.task, cell.name) == (task, name))

    def points(self, name: str, to: str, tasks: Sequence[str] | None = None) -> tuple[float, float]:
        """Mean over tasks of the points of test accuracy above another network's, and its standard error over tasks."""
        gained = [
            100 * (self.cell(task, name).test_accuracy - self.cell(task, to).test_accuracy)
            for task in tasks or self.tasks
        ]
        error = statistics.stdev(gained) / len(gained) ** 0.5 if len(gained) > 1 else 0.0
        return statistics.fmean(gained), error


def page(figures: Figures) -> str:
    """docs/suite/shared_prefix.md."""
    parts = [
        "# Tasks that share their first blocks",
        "Made by `python -m recipes.evidence.shared_prefix --out runs/shared_prefix` from the raw figures in "
        "[shared_prefix.json](shared_prefix.json). How it works: [how_it_works.md](../how_it_works.md), section 13.",
        _what(figures),
        "## Accuracy",
        _accuracy(figures),
        "## What the tasks take together, for one picture",
        "`own` is each task's network by itself, one after the other; `shared` computes what the networks begin with once. "
        "Milliseconds are medians of folded and packed networks with one thread, all taking turns; the ratio is to the "
        "compact nets trained with n = 0, each by itself, with its 95 % interval.",
        *(_together(figures, together) for together in figures.together),
        "## Against the goal",
        _goal(figures),
    ]
    return "\n\n".join(parts) + "\n"


def _what(figures: Figures) -> str:
    lengths = ", ".join(map(str, figures.prefixes))
    text = (
        f"{len(figures.tasks)} tasks over {figures.backbone} ({figures.blocks} universal blocks, "
        f"{figures.backbone_macs / 1e6:.1f} M MACs), seed {figures.cells[0].seed}, one run each. n is the number of blocks "
        f"that stay the backbone's own: {lengths}. Measured on {figures.device}."
    )
    if figures.budgets is not None:
        sizes = ", ".join(f"{budget:g}" for budget in figures.budgets)
        text += (
            f" The compact nets were pruned to budgets of {sizes} of the backbone's MACs in this order, so their sizes are a "
            "choice and the accuracies are what they cost."
        )
    text += (
        " Networks with n above 0 were trained longer: they begin as a network that is fine-tuned behind the prefix, for as "
        "many passes as the teacher."
    )
    if figures.overrides:
        text += f" The runs were made with `{' '.join(figures.overrides)}`, all else as the defaults."
    if figures.unfinished:
        text += f" Not finished, so not counted: {', '.join(figures.unfinished)}."
    return text


def _accuracy(figures: Figures) -> str:
    names = [FINETUNE, *(f"n{length}" for length in figures.prefixes)]
    head = ["task", "classes", "test pictures", "fine-tuned", *(f"n = {length}" for length in figures.prefixes)]
    rows = []
    for task in figures.tasks:
        own = figures.cell(task, FINETUNE)
        cells = [_net(figures, figures.cell(task, name)) for name in names]
        rows.append([task, str(own.classes), str(own.test_pictures), *cells])
    means = [statistics.fmean(figures.cell(task, name).test_accuracy for task in figures.tasks) for name in names]
    rows.append(["**mean**", "", "", *(f"**{mean:.3f}**" for mean in means)])
    against = [""] + [_signed(*figures.points(name, FINETUNE)) for name in names[1:]]
    rows.append(["points above fine-tuned, mean and standard error over tasks", "", "", *against])
    base = ["", ""] + [_signed(*figures.points(name, BASE)) for name in names[2:]]
    rows.append(["points above n = 0", "", "", *base])
    return (
        _table(head, rows) + "\n\nTest accuracy; in brackets the network's MACs by itself as a part of the backbone's."
    )


def _net(figures: Figures, cell: Cell) -> str:
    return f"{cell.test_accuracy:.3f} ({cell.macs / figures.backbone_macs:.2f})"


def _signed(points: float, error: float) -> str:
    return f"{points:+.2f} ± {error:.2f}"


def _together(figures: Figures, together: Together) -> str:
    rows = []
    for name in together.ms:
        ratio = together.times_n0.get(name)
        shown = "1" if ratio is None else f"{ratio.value:.2f} [{ratio.low:.2f}, {ratio.high:.2f}]"
        macs = together.macs[name]
        against = _finetuned_part(together, name)
        rows.append([_named(name), f"{macs / 1e6:.1f}", f"{together.ms[name]:.2f}", shown, against])
    head = ["networks", "M MACs", "ms", "time / n = 0, own", "time / fine-tuned, own"]
    distinct = list(dict.fromkeys(together.tasks))
    count, named = len(together.tasks), ", ".join(distinct)
    if len(distinct) < count:
        named = f"time alone: the networks of {named} stand in for those of {count} tasks, several times each"
    return f"### {count} tasks\n\n{named[0].upper()}{named[1:]}.\n\n" + _table(head, rows)


def _finetuned_part(together: Together, name: str) -> str:
    return f"{together.ms[name] / together.ms[FINETUNE]:.2f}"


def _named(name: str) -> str:
    if name == FINETUNE:
        return "fine-tuned, own"
    length, _, shared = name.removeprefix("n").partition(" ")
    return f"n = {length}, {shared or 'own'}"


def _goal(figures: Figures) -> str:
    """Whether the goal is met, and by which length; with fewer tasks than it asks for that is said."""
    largest = figures.together[-1]
    tasks = list(dict.fromkeys(largest.tasks))
    lines = [
        f"The goal is {GOAL_TASKS} tasks in at most {GOAL_TIME:g} of the time of separate compact nets (n = 0), at a cost of "
        f"at most {GOAL_POINTS:g} points."
    ]
    met = []
    for length in figures.prefixes:
        name = f"n{length} shared"
        if name in largest.times_n0:
            ratio, (points, error) = largest.times_n0[name], figures.points(f"n{length}", BASE, tasks)
            lines.append(
                f"* n = {length}: {ratio.value:.2f} of the time for {len(largest.tasks)} tasks, {_signed(points, error)} "
                f"points over {len(tasks)}."
            )
            if ratio.value <= GOAL_TIME and points >= -GOAL_POINTS:
                met.append(length)
    if len(tasks) < GOAL_TASKS:
        verdict = f"Only {len(tasks)} tasks are trained, so this can't say yet whether it is met."
    elif met:
        verdict = f"It is met at n = {', '.join(map(str, met))}."
    else:
        verdict = "It is not met."
    return "\n".join([lines[0], "", *lines[1:], "", verdict])


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
