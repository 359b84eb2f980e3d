"""The board: several methods on one task, the same data and seeds, counted with the same ruler.

    recipe, methods, seeds -> one cell each, a run folder: DIR/seed-0/nettailor/report.json
                           -> rows (mean and standard deviation over seeds) -> board.json, board.png, a table

A cell that is finished is never run again, one that was stopped goes on, and all cells of a seed share one teacher.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass as plain
from dataclasses import replace
from pathlib import Path

from nettailor.artifacts.board import Board, Figure, Row
from nettailor.artifacts.pareto import Front, FrontPoint
from nettailor.artifacts.report import CompactFigures, Report, StudentFigures
from nettailor.artifacts.run_folder import RunFolder
from nettailor.config.library import find_recipe
from nettailor.errors import UsageError
from nettailor.jobs.adapt import adapt
from nettailor.jobs.context import resolve
from nettailor.jobs.recipe import Recipe, read_recipes
from nettailor.methods.baselines import BASELINES, run_baseline
from nettailor.progress import Display
from nettailor.views.plots import Curve, draw_curves, need_matplotlib

OURS, PAPER = "nettailor", "paper"
METHODS = ("teacher", OURS, PAPER, "shallow", "linear", "batch_norm", "adapters")
"""In the order in which they run: a shallower cut is as large as our compact net, so it comes after it."""


@plain(frozen=True)
class Measured:
    """One seed's figures of one row, as parts of the backbone's."""

    test_accuracy: float
    points: float
    macs: float
    params: float
    task_params: float
    epochs: float
    seconds: float


def compare(
    recipe: Recipe,
    methods: Sequence[str],
    seeds: int,
    out: Path,
    display: Display | None = None,
    workers: int = 1,
    on: str | None = None,
) -> Board:
    """Run what is not finished yet, and write the board.

    Args:
        recipe: ours; the other methods read its data, backbone, teacher and machine, the baselines its epochs too.
        seeds: how many, counted from the recipe's own.

    Raises:
        UsageError: no such method, or matplotlib is missing.
    """
    display = display or Display()
    if (
        workers != 1 or on is not None
    ):  # WIRE HERE: build the cells as jobs and hand them to nettailor.jobs.many.run_jobs
        raise UsageError("--workers, --on: compare runs its cells one after the other; leave them out")
    if unknown := sorted(set(methods) - set(METHODS)):
        raise UsageError(f"there is no method {unknown[0]!r}; there are {', '.join(METHODS)}")
    if "shallow" in methods and OURS not in methods:
        raise UsageError(f"shallow: is cut to the size of {OURS}'s compact net; compare that too")
    need_matplotlib()
    recipe = resolve(recipe)
    ordered = ["teacher", *(method for method in METHODS if method in methods and method != "teacher")]
    for seed in range(recipe.seed, recipe.seed + seeds):
        for method in ordered:
            display.say(f"\n{recipe.task}, seed {seed}: {method}")
            _run_cell(method, replace(recipe, seed=seed), out / f"seed-{seed}", display)
    board = read_board(out, range(recipe.seed, recipe.seed + seeds), ordered)
    board.write(out / "board.json")
    draw_board(board, out, out / "board.png")
    return board


def paper_recipe(ours: Recipe) -> Recipe:
    """The paper's procedure on our data, backbone, teacher and seed."""
    (paper,) = read_recipes(find_recipe(PAPER))
    shared = {name: getattr(ours, name) for name in ("task", "seed", "data", "backbone", "teacher", "machine")}
    return replace(paper, **shared)


def read_board(out: Path, seeds: Sequence[int], methods: Sequence[str]) -> Board:
    """The board of finished cells."""
    reports = {method: [Report.read(_cell(out, seed, method).report) for seed in seeds] for method in methods}
    rows = [_row(method, [_of_net(report) for report in reports[method]]) for method in methods]
    if OURS in reports:
        fronts = [Front.read(_cell(out, seed, OURS).front) for seed in seeds]
        rows.insert(methods.index(OURS) + 1, _row("unpruned student", [_of_student(r) for r in reports[OURS]]))
        rows += _at_the_papers(reports, fronts)
    first = reports[methods[0]][0]
    return Board(
        task=first.task,
        backbone=first.backbone.name,
        backbone_macs=first.backbone.macs,
        backbone_params=first.backbone.params,
        train=first.data.train,
        test=first.data.test,
        classes=first.data.classes,
        seeds=list(seeds),
        rows=rows,
    )


def draw_board(board: Board, out: Path, path: Path) -> None:
    """Accuracy against MACs: a point for each method, and our curve of each seed."""
    curves: list[Curve] = []
    for seed in board.seeds:
        if (file := _cell(out, seed, OURS).front).is_file():
            points = Front.read(file).points
            xs = [point.macs / board.backbone_macs for point in points]
            label = "_" if curves else f"{OURS}, seeds one by one"
            ys = [point.test_accuracy for point in points]
            curves.append(Curve(label, xs, ys, ".-", color="lightsteelblue"))
    for row in board.rows:
        macs, accuracy = row.macs, row.test_accuracy
        curves.append(Curve(row.name, [macs.mean], [accuracy.mean], "o", [accuracy.std], [macs.std]))
    teacher = board.row("teacher")
    levels = {} if teacher is None else {"teacher's accuracy": teacher.test_accuracy.mean}
    draw_curves(path, f"{board.task} over {board.backbone}, {len(board.seeds)} seed(s)", curves, levels)


def _cell(out: Path, seed: int, method: str) -> RunFolder:
    return RunFolder(out / f"seed-{seed}" / method)


def _run_cell(method: str, recipe: Recipe, folder: Path, display: Display) -> None:
    cell = folder / method
    nets = RunFolder(folder / "teacher").nets
    begin_with = nets if method != "teacher" else None
    if method == OURS:
        adapt(replace(recipe, prune=replace(recipe.prune, front=True)), cell, display, begin_with=begin_with)
    elif method == PAPER:
        adapt(paper_recipe(recipe), cell, display, begin_with=begin_with)
    else:
        assert method in BASELINES
        ours = RunFolder(folder / OURS).report
        macs = Report.read(ours).compact.macs if method == "shallow" else None
        run_baseline(method, recipe, cell, display, macs, begin_with)  # type: ignore[arg-type]


def _row(name: str, measured: Sequence[Measured]) -> Row:
    def figure(read: Callable[[Measured], float]) -> Figure:
        return Figure.of([read(one) for one in measured])

    return Row(
        name,
        len(measured),
        test_accuracy=figure(lambda one: one.test_accuracy),
        points=figure(lambda one: one.points),
        macs=figure(lambda one: one.macs),
        params=figure(lambda one: one.params),
        task_params=figure(lambda one: one.task_params),
        epochs=figure(lambda one: one.epochs),
        seconds=figure(lambda one: one.seconds),
    )


def _of_net(report: Report) -> Measured:
    """The network that a method ends with. What its training took includes the teacher only where it learned from one."""
    stages = [stage for stage in report.epochs if stage != "teacher" or report.method in (OURS, "teacher")]
    return _measured(report.compact, report, stages)


def _of_student(report: Report) -> Measured:
    assert report.student is not None
    return _measured(report.student, report, ["teacher", "student"])


def _measured(net: CompactFigures | StudentFigures | FrontPoint, report: Report, stages: Iterable[str]) -> Measured:
    """One network of a run, and what the stages took that led to it."""
    whole, stages = report.backbone, list(stages)
    return Measured(
        net.test_accuracy,
        100 * (net.test_accuracy - report.teacher.test_accuracy),
        net.macs / whole.macs,
        net.params / whole.params,
        net.task_params / whole.params,
        sum(report.epochs[stage] for stage in stages),
        sum(report.seconds[stage] for stage in stages),
    )


def _at_the_papers(reports: dict[str, list[Report]], fronts: list[Front]) -> list[Row]:
    """Our curve where the paper's network is: the dearest of our networks within its MACs, and the leanest that is as
    accurate on the validation split."""
    if PAPER not in reports:
        return []
    within: list[Measured] = []
    as_accurate: list[Measured] = []
    for paper, ours, front in zip(reports[PAPER], reports[OURS], fronts, strict=True):
        cheap = [point for point in front.points if point.macs <= paper.compact.macs]
        good = [point for point in front.points if point.val_accuracy >= paper.compact.val_accuracy]
        if cheap:
            within.append(_measured(max(cheap, key=lambda point: point.macs), ours, ours.epochs))
        if good:
            as_accurate.append(_measured(min(good, key=lambda point: point.macs), ours, ours.epochs))
    found = {f"{OURS} at the paper's MACs": within, f"{OURS} at the paper's accuracy": as_accurate}
    return [_row(name, measured) for name, measured in found.items() if len(measured) == len(fronts)]
