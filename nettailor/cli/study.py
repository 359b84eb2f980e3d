"""`nettailor study`: the factors of fine-tuning, as a grid."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from nettailor.cli.inputs import DEVICES
from nettailor.cli.options import option, position


@dataclass
class StudyOptions:
    """Run a grid of factors, and say what each does: accuracy, change of each layer, gain by distance of source and target.

    FILE names the factors and their values (docs/studies.md): rate, passes, tune_from, per_class, method, seed, pair,
    source_classes, source_pictures, or any section.key of a recipe. Every cell is an ordinary run; what is finished is not
    run again, what was stopped goes on.
    """

    file: Path = position("the study's YAML file, or the name of a shipped one: studies/digits", "FILE")
    overrides: list[str] = position(
        "settings over those that all cells share, such as teacher.epochs=5", "section.key=value", optional=True
    )
    out: Path | None = option("folder of the study (default: studies/NAME)", metavar="DIR")
    device: str | None = option(DEVICES, metavar="DEVICE")
    workers: int = option("processes that share the jobs, and this machine's cores and GPUs", default=1, metavar="N")
    on: str | None = option("run the jobs on a Ray cluster; its address, or the one at hand", metavar="ray[=ADDRESS]")


def study(options: StudyOptions) -> int:
    """`nettailor study`."""
    from nettailor.config.library import find_study
    from nettailor.config.loading import merge, parse_overrides
    from nettailor.jobs.study import study as run_study
    from nettailor.progress import Display
    from nettailor.views.study_tables import study_table

    overrides = parse_overrides(options.overrides or [])
    if options.device is not None:
        overrides = merge(overrides, {"machine": {"device": options.device}})
    display = Display()
    path = find_study(str(options.file))
    file, cells, out = run_study(path, options.out, overrides, display, options.workers, options.on)
    display.console.print(study_table(str(file.name), cells, list(file.axes())))
    display.say(f"report   {out / 'report.md'}\nfigures  {out / 'cells.jsonl'}")
    return 0
