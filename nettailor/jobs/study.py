"""A study: a grid of factors, every cell an ordinary run, and what it shows.

    StudyFile -> cells -> PretrainJob, DistanceJob, CellJob -> run_jobs -> cells.jsonl -> tables, PNGs, report.md

    OUT/study.yaml          the file, as it was last run
    OUT/cells/CELL/         a run's folder, with layers.json beside the report
    OUT/sources/NET/        a small source network
    OUT/distances/PAIR/     how far a source and a target are apart

What is finished is never run again, what was stopped goes on. A study's file may grow: its old cells are found by what their
recipes say.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import mean
from typing import Any

from nettailor.artifacts.lock import lock_folder
from nettailor.artifacts.report import Report
from nettailor.artifacts.run_folder import RunFolder
from nettailor.artifacts.study import CellFigures, Distance, LayerChanges, SourceFigures, write_cells
from nettailor.backbones.config import BackboneConfig
from nettailor.data.config import DataConfig
from nettailor.data.datasets import DIGITS, is_named
from nettailor.data.layout import check
from nettailor.data.task import find_layout
from nettailor.errors import FileError, NettailorError, UsageError
from nettailor.files import copy_file
from nettailor.jobs.early_checks import EarlyChecks
from nettailor.jobs.job import Job
from nettailor.jobs.many import run_jobs
from nettailor.jobs.study_cells import Cell, choice_of, plan, recipe_key
from nettailor.jobs.study_file import StudyFile, read_study
from nettailor.jobs.study_jobs import DISTANCE, CellJob, DistanceJob, is_finished, named_by
from nettailor.jobs.study_sources import RECORD, PretrainJob, short_hash
from nettailor.methods._tuned import TuneSettings, first_tuned
from nettailor.progress import Display
from nettailor.views.plots import need_matplotlib
from nettailor.views.study_plots import draw_study
from nettailor.views.study_report import report_text

PROBE, SCRATCH = "linear", "scratch"
"""Methods that gains are counted from."""

DRAWN_BY = ("source", "root", "group", "classes", "val_fraction", "test_fraction", "train_limit", "skip_bad")
"""Settings of the data that a distance depends on."""


@dataclass(frozen=True)
class Folders:
    """The places in a study's folder, by absolute paths: workers may stand elsewhere."""

    root: Path

    @property
    def cells(self) -> Path:
        """The runs."""
        return self.root / "cells"

    @property
    def sources(self) -> Path:
        """Small source networks."""
        return self.root / "sources"

    @property
    def distances(self) -> Path:
        """How far sources and targets are apart."""
        return self.root / "distances"

    @property
    def lines(self) -> Path:
        """The figures, a line a cell."""
        return self.root / "cells.jsonl"

    @property
    def report(self) -> Path:
        """What it shows, for people."""
        return self.root / "report.md"


def study(
    path: Path,
    out: Path | None = None,
    overrides: dict[str, Any] | None = None,
    display: Display | None = None,
    workers: int = 1,
    on: str | None = None,
) -> tuple[StudyFile, list[CellFigures], Path]:
    """Run what is not finished of a study, and write what it shows.

    Args:
        path: the study's file.
        out: its folder; `studies/NAME` if left out.
        overrides: laid over what all cells share.
        workers, on: as `run_jobs` takes them.

    Returns:
        The study, the figures of its cells in the order of the grid, and its folder.

    Raises:
        UsageError: the file, or a recipe that it asks for, is refused; nothing has been written.
        NettailorError: a cell failed; what others ended with is on disk.
    """
    display = display or Display()
    file = read_study(path, overrides)
    folders = Folders((out or Path("studies") / str(file.name)).resolve())
    need_matplotlib()
    cells = plan(file, folders.sources, str(path))
    _check_cells(cells, folders, str(path))
    jobs, runs = _jobs(file, cells, folders), {cell.name for cell in cells}
    ready = sum(is_finished(folders.cells / name) for name in runs)
    display.say(f"{file.name}: {len(runs)} runs, {ready} of them finished; {len(jobs)} jobs to do, in {folders.root}")
    _own(folders.root)
    with lock_folder(folders.root):
        _clear(folders.root)
        copy_file(path, folders.root / "study.yaml")
        lines = _Lines(file, cells, folders)
        try:
            outcome = run_jobs(jobs, display, workers, on, lines.before)
        finally:
            lines.write()
        found = lines.figures()
        if found:
            draw_study(found, list(file.axes()), folders.root)
            report_text(str(file.name), found, list(file.axes()), folders.root)
    if outcome.failed:
        name, reason = next(iter(outcome.failed.items()))
        raise NettailorError(f"{name}: {reason}; the same command runs what is not finished yet")
    return file, found, folders.root


def _own(root: Path) -> None:
    """Make the folder, or see that it is a study's.

    Raises:
        FileError: it holds something else, or can't be made.
    """
    if (
        root.exists()
        and not (root / "study.yaml").is_file()
        and any(not p.name.startswith(".") for p in root.iterdir())
    ):
        raise FileError(root, "is not empty and holds no study; choose another --out")
    try:
        root.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FileError(root, f"can't be made ({error.strerror}); choose another --out") from error


def _clear(root: Path) -> None:
    """Remove what a killed write left; no other process may be at work in the folder."""
    for pattern in (".*.tmp", "sources/*/.*.tmp", "distances/*/.*.tmp", "cells/*/.layers.json.*.tmp"):
        for path in root.glob(pattern):
            path.unlink(missing_ok=True)


def _check_cells(cells: Sequence[Cell], folders: Folders, origin: str) -> None:
    """Refuse cells that their backbone or pictures don't allow, as far as they have not begun yet; each choice once,
    whatever its seed.

    Pictures of torchvision's are fetched when they are read: of cells with them the layers alone are looked at.
    """
    checks, seen, sources = EarlyChecks(), set[str](), set[str]()
    for cell in cells:
        recipe, own, source = cell.recipe, cell.recipe.method, cell.source
        if source is not None and cell.net is None and not is_named(source.data) and repr(source) not in sources:
            sources.add(repr(source))
            named = named_by(source, recipe)
            check(find_layout(DataConfig(source=source.data, classes=source.classes), named=named))
        where = f"{origin}: cell of {choice_of(cell.factors)}"
        key = recipe_key(replace(recipe, seed=0))
        if key in seen or RunFolder(folders.cells / cell.name).recipe.is_file():
            continue
        seen.add(key)
        backbone = checks.backbone(recipe.backbone, untrained=cell.net is not None)
        fetched = recipe.data.source != DIGITS and is_named(recipe.data.source)
        try:
            if not fetched:
                checks.check(recipe, untrained=cell.net is not None)
            elif isinstance(own, TuneSettings):
                first_tuned(own.tune_from, backbone)
        except UsageError as error:
            raise UsageError(f"{where}: {error}") from error


def _jobs(file: StudyFile, cells: Sequence[Cell], folders: Folders) -> list[Job]:
    """What is not done yet, in an order in which nothing waits for what stands behind it."""
    jobs: dict[str, Job] = {}
    for cell in cells:
        after: tuple[str, ...] = ()
        if cell.net is not None and not (folders.sources / cell.net.key / RECORD).is_file():
            name = f"source {cell.net.key}"
            recipe = replace(cell.recipe, backbone=BackboneConfig())  # loaded by the runner, and not used
            jobs[name] = PretrainJob(name, recipe, folders.sources / cell.net.key, net=cell.net)
            after = (name,)
        if cell.source is not None and not (_distance_of(file, cell, folders) / DISTANCE).is_file():
            folder = _distance_of(file, cell, folders)
            name = f"distance {folder.name}"
            jobs[name] = DistanceJob(
                name, cell.recipe, folder, after=after, source=cell.source, net=cell.net, settings=file.distance
            )
        folder = folders.cells / cell.name
        if not is_finished(folder):
            jobs[cell.name] = CellJob(cell.name, cell.recipe, folder, after=after, pictures=file.change.pictures)
    order = (PretrainJob, DistanceJob, CellJob)
    return sorted(jobs.values(), key=lambda job: order.index(type(job)))  # type: ignore[arg-type]


def _distance_of(file: StudyFile, cell: Cell, folders: Folders) -> Path:
    """The folder of a cell's distance: the same for the same pictures and backbone."""
    assert cell.source is not None
    said = asdict(cell.recipe.data)
    data = {key: said[key] for key in DRAWN_BY}
    key = short_hash(
        [
            asdict(cell.source),
            data,
            asdict(cell.recipe.backbone),
            asdict(file.distance),
            cell.net and cell.net.key,
        ]
    )
    return folders.distances / f"{cell.recipe.task}-{key}"


class _Lines:
    """`cells.jsonl`, brought up to date whenever a job starts."""

    def __init__(self, file: StudyFile, cells: Sequence[Cell], folders: Folders) -> None:
        self._file, self._cells, self._folders = file, cells, folders
        self._found: dict[str, CellFigures] = {}
        self._written: set[str] = set()

    def before(self, job: Job) -> Job:
        """Called just before a job starts: what has ended by now is written down."""
        self.write()
        return job

    def write(self) -> None:
        """Write a line for each finished cell, where there are more of them than there were."""
        figures = self.figures()
        if set(self._found) != self._written:
            write_cells(self._folders.lines, figures)
            self._written = set(self._found)

    def figures(self) -> list[CellFigures]:
        """The figures of the finished cells in their order, with gains over those baselines that are finished, too."""
        for cell in self._cells:
            if cell.name not in self._found and is_finished(self._folders.cells / cell.name):
                self._found[cell.name] = self._read(cell)
        done = [cell for cell in self._cells if cell.name in self._found]
        bases = {method: self._levels(done, method) for method in (PROBE, SCRATCH)}
        return [
            replace(
                self._found[cell.name],
                factors=dict(cell.factors),
                baseline=cell.baseline,
                over_probe=self._over(cell, bases[PROBE], PROBE),
                over_scratch=self._over(cell, bases[SCRATCH], SCRATCH),
            )
            for cell in done
        ]

    def _levels(self, done: Sequence[Cell], method: str) -> dict[Any, float]:
        """Mean test accuracy of a baseline by what it was trained on."""
        found: dict[Any, list[float]] = {}
        for cell in done:
            if cell.recipe.method.name == method:
                found.setdefault(cell.where, []).append(self._found[cell.name].test_accuracy)
        return {where: mean(values) for where, values in found.items()}

    def _over(self, cell: Cell, levels: dict[Any, float], method: str) -> float | None:
        if cell.recipe.method.name == method or cell.where not in levels:
            return None
        return 100 * (self._found[cell.name].test_accuracy - levels[cell.where])

    def _read(self, cell: Cell) -> CellFigures:
        folders, folder = self._folders, RunFolder(self._folders.cells / cell.name)
        report = Report.read(folder.report)
        distance = source = None
        if cell.source is not None and (path := _distance_of(self._file, cell, folders) / DISTANCE).is_file():
            distance = Distance.read(path)
        if cell.net is not None:
            source = SourceFigures.read(folders.sources / cell.net.key / RECORD)
        return CellFigures(
            study=str(self._file.name),
            factors=dict(cell.factors),
            baseline=cell.baseline,
            method=report.method,
            task=report.task,
            seed=report.seed,
            folder=str(folder.root.relative_to(folders.root)),
            train=report.data.train,
            test_accuracy=report.compact.test_accuracy,
            val_accuracy=report.compact.val_accuracy,
            balanced_accuracy=report.compact.balanced_accuracy,
            macs=report.compact.macs,
            task_params=report.compact.task_params,
            epochs=sum(report.epochs.values()),
            seconds=sum(report.seconds.values()),
            distance=distance,
            source=source,
            layers=LayerChanges.read(folder.root / "layers.json").layers,
        )
