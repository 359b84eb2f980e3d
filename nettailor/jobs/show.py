"""What `nettailor show` needs of finished runs and of deltas: networks over one backbone, and all that their page shows.

folders -> load_together -> deltas -> page_data -> views.html.page.render
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from blocks import Backbone
from nettailor import __version__
from nettailor.artifacts.confusion import Confusion
from nettailor.artifacts.delta import Delta, delta_folder, load, read_description, task_bytes
from nettailor.artifacts.description import Description
from nettailor.artifacts.pareto import Front
from nettailor.artifacts.report import Report
from nettailor.artifacts.run_folder import RunFolder
from nettailor.errors import FileError, UsageError
from nettailor.jobs.mistakes import wrong_pictures
from nettailor.jobs.recipe import own_recipe
from nettailor.jobs.reprune import keeps_student
from nettailor.pruning.graph import BlockGraph
from nettailor.views.html.data import ConfusionData, FiguresData, PageData, TaskData
from nettailor.views.html.figures import confusion_data, figures_data, front_data
from nettailor.views.html.network import backbone_data, graph_data, shared_data


def load_together(folders: Sequence[Path], backbone: Callable[[Path], Backbone | None]) -> list[Delta]:
    """Load deltas over one backbone, which is in memory once.

    Args:
        folders: of runs or deltas, at least one.
        backbone: given the first folder, its backbone; None where `load` is to find it by its name.

    Raises:
        UsageError: they are over different backbones, or a folder is named twice.
        FileError: a delta is missing or damaged.
    """
    twice = [str(path) for path, count in Counter(path.resolve() for path in folders).items() if count > 1]
    if twice:
        raise UsageError(f"{twice[0]}: is named twice; name each run once")
    descriptions = [read_description(delta_folder(folder)) for folder in folders]
    for folder, description in zip(folders[1:], descriptions[1:], strict=True):
        _check_same_backbone(folders[0], descriptions[0], folder, description)
    first = load(folders[0], backbone(folders[0]))
    return [first, *(load(folder, first.net.backbone) for folder in folders[1:])]


def page_data(
    folders: Sequence[Path], deltas: Sequence[Delta], say: Callable[[str], None] = lambda line: None
) -> PageData:
    """All that the page of these runs shows. What a run does not have is left out, with a line that says so.

    Args:
        folders: as the user named them.
        deltas: loaded from them, in this order (`load_together`).
        say: told why pictures of a run can't be shown.

    Raises:
        FileError: a report, curve or matrix of a run is damaged.
    """
    reports = [_report(folder) for folder in folders]
    tasks = [_task(*row, say) for row in zip(folders, deltas, reports, strict=True)]
    nets = [delta.net for delta in deltas]
    weight = sum(task.figures.task_bytes for task in tasks)
    shared = shared_data(nets, weight, reports) if len(nets) > 1 else None
    named = [replace(task, label=label) for task, label in zip(tasks, _labels(tasks, folders), strict=True)]
    return PageData(__version__, backbone_data(nets[0].backbone), named, shared)


def _check_same_backbone(one: Path, first: Description, other: Path, second: Description) -> None:
    a, b = first.backbone, second.backbone
    if a.sha256 == b.sha256 and first.input == second.input and a.geometry_sha256 in (b.geometry_sha256, None):
        return
    if a.sha256 == b.sha256 and first.input == second.input and b.geometry_sha256 is None:
        return
    names = [f"{about.backbone.name} at {about.input.size} px" for about in (first, second)]
    if names[0] == names[1]:
        names = [f"{name} ({about.sha256[:12]}...)" for name, about in zip(names, (a, b), strict=True)]
    raise UsageError(
        f"one page shows networks over one backbone, but {one} is over {names[0]} and {other} over {names[1]}; "
        "show them one by one"
    )


def _report(folder: Path) -> Report | None:
    """A run's report; None for a delta on its own."""
    path = RunFolder(folder).report
    return Report.read(path) if path.is_file() and delta_folder(folder) != folder else None


def _task(folder: Path, delta: Delta, report: Report | None, say: Callable[[str], None]) -> TaskData:
    run, description = RunFolder(folder), delta.description
    graph = BlockGraph.of(delta.net)
    task = TaskData(
        label=description.task,
        task=description.task,
        method=description.method,
        seed=None if report is None else report.seed,
        classes=len(delta.classes),
        graph=graph_data(delta.net),
        figures=_bare_figures(folder, delta) if report is None else figures_data(report),
    )
    if report is None:
        note = "This is a delta without its run, which knows no test pictures and no other sizes."
        return replace(task, front_note=note, confusion_note=note, mistakes_note=note)
    front = Front.read(run.front) if run.front.is_file() else None
    curve = front_data(report, run.report, front, delta.net.cost().macs - graph.macs())
    confusion = _confusion(run.confusion, delta.classes) if run.confusion.is_file() else None
    again = f"nettailor prune {folder}" if keeps_student(run) else None
    mistakes, why_none = wrong_pictures(own_recipe(folder), run, delta.classes, say)
    return replace(
        task,
        front=curve,
        front_note="" if curve else _why_no_curve(again),
        prune_command=again,
        confusion=confusion,
        confusion_note="" if confusion else "This run wrote no confusion matrix.",
        mistakes=mistakes,
        mistakes_note=why_none,
    )


def _confusion(path: Path, classes: list[str]) -> ConfusionData:
    confusion = Confusion.read(path)
    if confusion.classes != classes or {len(confusion.counts), *map(len, confusion.counts)} != {len(classes)}:
        raise FileError(path, "is no matrix of this run's classes; remove it, and the page is written without it")
    return confusion_data(confusion)


def _why_no_curve(again: str | None) -> str:
    known = "This run knows one size only."
    return known if again is None else f"{known} The whole curve: {again} --front"


def _bare_figures(folder: Path, delta: Delta) -> FiguresData:
    cost, graph = delta.net.cost(), BlockGraph.of(delta.net)
    return FiguresData(
        macs=cost.macs,
        params=cost.params,
        task_params=sum(tensor.numel() for tensor in delta.net.task_tensors().values()),
        task_bytes=task_bytes(delta_folder(folder)),
        blocks=len(graph.universal()),
        proxies=len(graph.proxies()),
    )


def _labels(tasks: Sequence[TaskData], folders: Sequence[Path]) -> list[str]:
    """A distinct name for each: its task's; with its method, its seed or its folder where that is not enough."""
    made = [
        [
            task.task,
            f"{task.task}, {task.method}",
            f"{task.task}, {task.method}, seed {task.seed}",
            f"{task.task}, {folder}",
        ]
        for task, folder in zip(tasks, folders, strict=True)
    ]
    return [
        next(
            (name for level, name in enumerate(own) if sum(other[level] == name for other in made) == 1),
            own[-1],
        )
        for own in made
    ]
