"""`nettailor export`: a compact net in another format, proven to answer the same."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from nettailor.cli.inputs import backbone_of
from nettailor.cli.options import option, position

POINTS = 1.0


@dataclass
class ExportOptions:
    """A standalone file of a compact net, run in its own runtime on pictures of its task before it is called done.

    Figures go into export.json and the model card.
    """

    run: Path = position("a run's folder, or its delta's, or hf://user/name", "RUN")
    to: str | None = option("onnx, torch, executorch or openvino", metavar="FORMAT")
    out: Path | None = option(
        "the file (default: RUN/export/TASK.ENDING; of a delta alone ./TASK.ENDING)", metavar="FILE"
    )
    raw: bool = option("without preprocessing: the file reads normalised float32 pictures", default=False)
    int8: bool = option("quantised to int8, with ranges of training pictures", default=False)
    drop: float = option(
        "points of accuracy that --int8 may cost on validation pictures", default=POINTS, metavar="POINTS"
    )
    data: str | None = option("other pictures, in the same classes; needed for a delta alone", metavar="DIR|ZIP|NAME")
    split: str | None = option(
        "which pictures it is compared on; if left out test, or all where --data has no splits",
        choices=("train", "val", "test"),
    )
    backbone: str | None = option("the backbone, where its name in the delta is not enough", metavar="NAME")
    weights: str | None = option("the backbone's weights in a local file", metavar="FILE")
    proxies: str | None = option("import this form of proxy, where the delta uses one", metavar="MODULE:FUNCTION")
    skip_bad: bool = option("go on without pictures that can't be read", default=False)


def export(options: ExportOptions) -> int:
    """`nettailor export`."""
    from nettailor import export as formats
    from nettailor.errors import UsageError

    if options.to is None:
        raise UsageError(f"nettailor export: --to is missing; there are {', '.join(formats.names())}")
    formats.find(options.to).need()

    from nettailor.artifacts.delta import load
    from nettailor.jobs.export import ExportWish, check_finished
    from nettailor.jobs.export import export as exported
    from nettailor.progress import Display
    from nettailor.views.export_tables import export_table

    check_finished(options.run)
    delta = load(options.run, backbone_of(options))
    display = Display()
    wish = ExportWish(
        options.to, options.out, options.raw, options.int8, options.drop, options.data, options.split, options.skip_bad
    )
    done = exported(options.run, delta, wish, display.say)
    display.console.print(export_table(done.figures))
    display.say(f"file     {done.path}")
    card = "the model card can't be written" if done.card is None else str(done.card)
    display.say(f"figures  {done.record}  {card}")
    return 0
