"""`nettailor prune`: another size for a finished student."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from nettailor.cli.inputs import DEVICES
from nettailor.cli.options import option, position


@dataclass
class PruneOptions:
    """Choose another size for the student of a finished run; neither teacher nor student is trained again.

    A student that the run itself didn't need is trained by the first size that does. The new size gets a run folder of its
    own, with its delta and report. prune.* and recover.* can be set as section.key=value.
    """

    run: Path = position("the folder of a finished nettailor adapt", "RUN")
    overrides: list[str] = position(
        "settings over the run's recipe, such as prune.epochs=3", "section.key=value", optional=True
    )
    macs: float | None = option("at most this part of the backbone's MACs", metavar="PART")
    params: float | None = option("at most this part of the backbone's parameters", metavar="PART")
    latency_ms: float | None = option("at most so many milliseconds, by the run's cost table", metavar="MS")
    drop: float | None = option("the leanest network within so many points of the teacher", metavar="POINTS")
    front: bool = option("the whole curve of accuracy against cost: table, front.json, front.png", default=False)
    out: Path | None = option("folder of the new run (default: RUN/prune/WISH)", metavar="DIR")
    device: str | None = option(DEVICES, metavar="DEVICE")


def prune(options: PruneOptions) -> int:
    """`nettailor prune`."""
    from nettailor.artifacts.pareto import Front
    from nettailor.artifacts.run_folder import RunFolder
    from nettailor.config.loading import merge, parse_overrides
    from nettailor.jobs.reprune import TargetSize, reprune
    from nettailor.progress import Display
    from nettailor.views.tables import files_text, front_table, report_table

    target = TargetSize(options.macs, options.params, options.latency_ms, options.drop, options.front)
    tree = parse_overrides(options.overrides or [])
    if options.device is not None:
        tree = merge(tree, {"machine": {"device": options.device}})
    display = Display()
    report, out = reprune(options.run, target, tree, options.out, display)
    display.console.print(report_table(report))
    if options.front:
        curve = RunFolder(out).front
        display.console.print(front_table(Front.read(curve)))
        display.say(f"curve    {curve}  {curve.with_suffix('.png')}")
    display.say(files_text(report, out))
    return 0
