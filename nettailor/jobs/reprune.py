"""Another size for a finished student: `nettailor prune RUN`.

    RUN/nets (teacher, student) -> prune to a budget or a drop -> recover -> RUN/prune/macs-0.5/   a run folder of its own
    RUN/nets -> prune, and go on as far as it holds together -> RUN/prune/front/                   the whole curve

Neither teacher nor student is trained again; what is trained is what the pruning fades and recovers. Where the run needed
no trained student, the first of these that does trains it, from how it began, and leaves it in RUN/nets for the next.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from nettailor.artifacts.report import Report
from nettailor.artifacts.run_folder import RunFolder
from nettailor.config.loading import differences, merge
from nettailor.errors import FileError, UsageError
from nettailor.jobs.adapt import adapt
from nettailor.jobs.recipe import Recipe, parse_recipe
from nettailor.progress import Display
from nettailor.training.checkpoint import Checkpoints
from nettailor.training.stages import BEGUN


@dataclass(frozen=True)
class TargetSize:
    """What is wanted: a part of the backbone's MACs or parameters, milliseconds, points of accuracy, or the whole curve."""

    macs: float | None = None
    params: float | None = None
    latency_ms: float | None = None
    drop: float | None = None
    front: bool = False

    def settings(self) -> dict[str, Any]:
        """The recipe settings that say so.

        Raises:
            UsageError: not just one thing is wanted, or it is no size.
        """
        named = self._named()
        if len(named) != 1:
            raise UsageError("name one of --macs, --params, --latency-ms, --drop and --front")
        ((unit, value),) = named.items()
        if unit == "front":
            return {"prune": {"how": "tolerance", "front": True}}
        if value < 0 or (value == 0 and unit != "drop"):
            raise UsageError(f"--{unit.replace('_', '-')}: must be above 0, but it is {value}")
        if unit == "drop":
            return {"prune": {"how": "tolerance", "drop": value}}
        cost = "latency" if unit == "latency_ms" else unit
        return {"cost": cost, "prune": {"how": "budget", "budget": value}}

    @property
    def keeps_unit(self) -> bool:
        """Whether the run goes on counting in its own unit, with its own cost table if it has one."""
        return self.macs is None and self.params is None

    def name(self) -> str:
        """What the folder is called."""
        ((unit, value),) = self._named().items()
        return unit if unit == "front" else f"{unit.replace('_', '-')}-{value:g}"

    def _named(self) -> dict[str, float]:
        return {unit: value for unit, value in asdict(self).items() if value is not None and value is not False}


def finished_run(run: Path) -> tuple[Recipe, RunFolder]:
    """The recipe and folder of a run whose teacher and student are there.

    Raises:
        FileError: no run, not finished, or its nets are gone.
    """
    folder = RunFolder(run)
    if not folder.recipe.is_file():
        raise FileError(run, "holds no run; give the folder of a finished nettailor adapt")
    if not (folder.report.is_file() and Checkpoints(folder.nets).has("teacher") and keeps_student(folder)):
        raise FileError(run, "has no finished teacher and student (nets/); run nettailor adapt on it first")
    return Recipe.read(folder.recipe), folder


def keeps_student(folder: RunFolder) -> bool:
    """Whether a run has a student from which another size can be made, trained or as it began."""
    return any(Checkpoints(folder.nets).has(stage) for stage in ("student", BEGUN))


def reprune(
    run: Path,
    target: TargetSize,
    overrides: dict[str, Any] | None = None,
    out: Path | None = None,
    display: Display | None = None,
) -> tuple[Report, Path]:
    """Choose another size for the student of a finished run, and recover it.

    Returns:
        The report, and the folder in which it and the delta are.

    Raises:
        NettailorError: the run is not finished, the size can't be reached, or an override changes what is trained already.
    """
    recipe, folder = finished_run(run)
    table = {} if target.keeps_unit else {"cost_table": None}
    wanted = parse_recipe(merge(merge(recipe.as_dict(), table | target.settings()), overrides or {}), "command line")
    free = ("prune.", "recover.", "cost")
    changed = [key for key in differences(recipe.as_dict(), wanted.as_dict()) if not key.startswith(free)]
    if changed:
        raise UsageError(
            f"{changed[0]}: teacher and student of {run} are trained already; here prune.* and recover.* can be set"
        )
    if wanted.cost == "latency" and wanted.cost_table is None and folder.costs.is_file():
        wanted = replace(wanted, cost_table=str(folder.costs.resolve()))
    out = out or folder.root / "prune" / target.name()
    report = adapt(wanted, out, display, begin_with=folder.nets)
    Checkpoints(folder.nets).take_over(RunFolder(out).nets)  # a student that was trained for this size alone
    return report, out
