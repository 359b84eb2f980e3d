"""The board: several methods on one task, the same data and seeds, counted alike.

    recipe, methods, seeds -> one cell each, a run folder: DIR/seed-0/nettailor/report.json
                           -> rows (mean and standard deviation over seeds) -> board.json, board.png, a table

A cell that is finished is never run again, one that was stopped goes on, and all cells of a seed that learn from the
fine-tuned backbone share one; another teacher is trained in the cell that learns from it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass as plain
from dataclasses import replace
from pathlib import Path

from blocks import Path as NetPath
from nettailor.artifacts.board import Board, Figure, Row
from nettailor.artifacts.delta import read_description
from nettailor.artifacts.pareto import Front, FrontPoint
from nettailor.artifacts.report import CompactFigures, Report, StudentFigures
from nettailor.artifacts.run_folder import RunFolder
from nettailor.artifacts.weight_of_tasks import weigh
from nettailor.errors import NettailorError, UsageError
from nettailor.jobs.board_rows import OURS, PAPER, SHORT, TEACHER, BoardRow, in_order
from nettailor.jobs.context import resolve
from nettailor.jobs.early_checks import EarlyChecks
from nettailor.jobs.many import Job, run_jobs
from nettailor.jobs.recipe import Recipe
from nettailor.methods._beside import TIMED_AS
from nettailor.methods._protocol import FinishedRun
from nettailor.methods._teachers import check_teacher
from nettailor.progress import Display
from nettailor.views.plots import Curve, draw_curves, need_matplotlib

STUDENT = "unpruned student"
"""The row of what ours is pruned from."""


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
    wanted: Sequence[str] = SHORT,
    seeds: int = 1,
    out: Path = Path("board"),
    display: Display | None = None,
    workers: int = 1,
    on: str | None = None,
) -> Board:
    """Run what is not finished yet, and write the board.

    Args:
        recipe: ours; the other methods read its data, backbone, teacher and machine, the baselines its epochs too.
        wanted: rows (`board_rows`): names of methods, with variants; fine-tuning is always among them: it is the teacher of
            the others.
        seeds: how many, counted from the recipe's own.
        workers, on: as `run_jobs` takes them.

    Raises:
        UsageError: no such method, a recipe of another method's student, or matplotlib is missing.
        NettailorError: a cell failed; what others ended with is on disk.
    """
    display = display or Display()
    rows = _with_pictures(in_order(wanted), recipe, display)
    ordered = [row.label for row in rows]
    _check_ours(recipe)
    need_matplotlib()
    recipe = resolve(recipe, of_board=True)
    over = range(recipe.seed, recipe.seed + seeds)
    jobs = [job for seed in over for job in cells(replace(recipe, seed=seed), rows, out / f"seed-{seed}")]
    _check_rows(jobs)
    outcome = run_jobs(jobs, display, workers, on, take_size)
    if outcome.failed:
        name, reason = next(iter(outcome.failed.items()))
        raise NettailorError(f"{name}: {reason}; the same command runs what is not finished yet")
    board = read_board(out, over, ordered)
    board.write(out / "board.json")
    files = [_cell(out, seed, OURS).front for seed in board.seeds]
    reports = _reports(out, board.seeds, ordered)
    draw_board(
        board, [Front.read(file) for file in files if file.is_file()], out / "board.png", points_of_runs(reports)
    )
    return board


def _with_pictures(rows: list[BoardRow], recipe: Recipe, display: Display) -> list[BoardRow]:
    """The rows that can run with the pictures that the recipe names; which can't is said."""
    lacking = [row for row in rows if row.needs_source and recipe.source.data is None]
    for row in lacking:
        display.say(f"{row.label}: left out, because no source pictures are named (source.data=DIR|ZIP|NAME)")
    return [row for row in rows if row not in lacking]


def _check_rows(jobs: Sequence[Job]) -> None:
    """Refuse rows that the backbone or the pictures don't allow, before one is trained; those of the first seed, as far as
    they have not begun yet."""
    checks = EarlyChecks()
    for job in jobs:
        if job.recipe.seed == jobs[0].recipe.seed and not RunFolder(job.out).recipe.is_file():
            checks.check(job.recipe)


def _check_ours(recipe: Recipe) -> None:
    """Refuse a recipe whose student and pruning are another method's: with ours they would be called ours."""
    name = recipe.method.name
    if name != OURS and recipe.find_method().defaults:
        raise UsageError(
            f"--recipe: is of the method {name}, but compare reads {OURS}'s settings from it; leave it out and name {name} "
            "with --methods"
        )


def cells(recipe: Recipe, rows: Sequence[BoardRow], folder: Path) -> list[Job]:
    """One job for each row, for one seed.

    Raises:
        UsageError: a row's recipe is refused before anything runs.
    """
    nets = RunFolder(folder / TEACHER).nets
    jobs = []
    for row in rows:
        own = row.recipe(recipe)
        row.method.check(own)
        check_teacher(own)
        if row.label == OURS:
            own = replace(own, prune=replace(own.prune, front=True))
        learns = row.method.wants_teacher(own.method) and own.teacher.is_plain
        after = [TEACHER] if learns else []
        after += [row.method.sized_like] if row.method.sized_like is not None else []
        jobs.append(
            Job(
                name=f"{folder.name}/{row.label}",
                recipe=own,
                out=folder / row.label,
                begin_with=nets if learns else None,
                after=tuple(f"{folder.name}/{other}" for other in after),
            )
        )
    return jobs


def take_size(job: Job) -> Job:
    """A job with size and passes of another method's run, once that has ended, where its method takes them from there."""
    method = job.recipe.find_method()
    if method.sized_like is None:
        return job
    folder = RunFolder(job.out.parent / method.sized_like)
    kept = read_description(folder.delta).graph.edges
    paths = tuple(sorted(NetPath(edge.target, edge.slot, edge.form) for edge in kept))
    other = FinishedRun(Report.read(folder.report), paths)
    return replace(job, recipe=replace(job.recipe, method=method.sized(job.recipe.method, other)))


def read_board(out: Path, seeds: Sequence[int], ordered: Sequence[str]) -> Board:
    """The board of finished cells."""
    reports = _reports(out, seeds, ordered)
    teachers = [report.compact.test_accuracy for report in reports[TEACHER]]

    def row(name: str, measure: Callable[[Report, float], Measured], method: str) -> Row:
        return _row(name, [measure(*pair) for pair in zip(reports[method], teachers, strict=True)])

    rows = [replace(row(method, _of_net, method), weight=weigh(reports[method])) for method in ordered]
    if OURS in reports:
        fronts = [Front.read(_cell(out, seed, OURS).front) for seed in seeds]
        rows.insert(list(ordered).index(OURS) + 1, row(STUDENT, _of_student, OURS))
        rows += _at_the_papers(reports, fronts, teachers)
    first = reports[ordered[0]][0]
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


def points_of_runs(reports: Mapping[str, Sequence[Report]]) -> dict[str, list[tuple[float, float]]]:
    """By row, every run's part of the backbone's MACs and its test accuracy: what the row's means are of."""

    def points(runs: Sequence[tuple[CompactFigures | StudentFigures, Report]]) -> list[tuple[float, float]]:
        return [(net.macs / report.backbone.macs, net.test_accuracy) for net, report in runs]

    found = {name: points([(report.compact, report) for report in runs]) for name, runs in reports.items()}
    students = [(report.student, report) for report in reports.get(OURS, ()) if report.student is not None]
    return {**found, STUDENT: points(students)} if students else found


def draw_board(
    board: Board, fronts: Sequence[Front], path: Path, runs: Mapping[str, Sequence[tuple[float, float]]]
) -> None:
    """Accuracy against MACs: the mean of each method and a dot for each seed, and our curve of each seed.

    Args:
        runs: as `points_of_runs` gives them; a row without any has its deviations drawn.
    """
    curves: list[Curve] = []
    for front in fronts:
        xs = [point.macs / board.backbone_macs for point in front.points]
        label = "_" if curves else f"{OURS}'s networks on the way down"
        ys = [point.test_accuracy for point in front.points]
        curves.append(Curve(label, xs, ys, ".-", color="lightsteelblue"))
    for place, row in enumerate(board.rows):
        macs, accuracy, color = row.macs, row.test_accuracy, f"C{place % 10}"
        points = runs.get(row.name, ())
        if points:
            curves.append(Curve("_", [x for x, _ in points], [y for _, y in points], ".", color=color))
        up, along = (None, None) if points else ([accuracy.std], [macs.std])
        curves.append(Curve(row.name, [macs.mean], [accuracy.mean], "o", up, along, color))
    teacher = board.row(TEACHER)
    levels = {} if teacher is None else {"teacher's accuracy": teacher.test_accuracy.mean}
    draw_curves(
        path, f"{board.task} over {board.backbone}, means and dots of {len(board.seeds)} seed(s)", curves, levels
    )


def _reports(out: Path, seeds: Sequence[int], ordered: Sequence[str]) -> dict[str, list[Report]]:
    return {method: [Report.read(_cell(out, seed, method).report) for seed in seeds] for method in ordered}


def _cell(out: Path, seed: int, method: str) -> RunFolder:
    return RunFolder(out / f"seed-{seed}" / method)


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


def _of_net(report: Report, teacher: float) -> Measured:
    """The network that a method ends with, and all that its training took."""
    return _measured(report.compact, report, teacher, report.seconds)


def _of_student(report: Report, teacher: float) -> Measured:
    assert report.student is not None
    return _measured(report.student, report, teacher, ["prepare", "teacher", "student"])


def _measured(
    net: CompactFigures | StudentFigures | FrontPoint, report: Report, teacher: float, stages: Iterable[str]
) -> Measured:
    """One network of a run, and what the stages took that led to it; `teacher` is the fine-tuned network's accuracy.

    What was measured on source and probe pictures led to no network.
    """
    whole, stages = report.backbone, set(stages) - {TIMED_AS}
    trained = stages | ({"importance"} if "prune" in stages else set())
    return Measured(
        net.test_accuracy,
        100 * (net.test_accuracy - teacher),
        net.macs / whole.macs,
        net.params / whole.params,
        net.task_params / whole.params,
        sum(passes for stage, passes in report.epochs.items() if stage in trained),
        sum(seconds for stage, seconds in report.seconds.items() if stage in stages),
    )


def _at_the_papers(reports: dict[str, list[Report]], fronts: list[Front], teachers: list[float]) -> list[Row]:
    """Our curve where the paper's network is: the most costly of our networks within its MACs, and the leanest that is as
    accurate on the validation split."""
    if PAPER not in reports:
        return []
    within: list[Measured] = []
    as_accurate: list[Measured] = []
    for paper, ours, front, teacher in zip(reports[PAPER], reports[OURS], fronts, teachers, strict=True):
        if (cheap := front.largest_within(paper.compact.macs)) is not None:
            within.append(_measured(cheap, ours, teacher, ours.seconds))
        if (good := front.leanest_as_accurate(paper.compact.val_accuracy)) is not None:
            as_accurate.append(_measured(good, ours, teacher, ours.seconds))
    found = {f"{OURS} at the paper's MACs": within, f"{OURS} at the paper's accuracy": as_accurate}
    return [_row(name, measured) for name, measured in found.items() if len(measured) == len(fronts)]
