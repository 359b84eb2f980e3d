"""What TensorBoard shows of a finished run, or of as much of one as there is.

report, confusion, front, kept graph -> write_results -> FOLDER/events.out.tfevents.results, FOLDER/graphs/...
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tensorboard.compat.proto.summary_pb2 import Summary
from torch.utils.tensorboard.summary import scalar

from nettailor.artifacts.confusion import Confusion
from nettailor.artifacts.pareto import Front
from nettailor.artifacts.report import Report
from nettailor.views.tensorboard import pictures
from nettailor.views.tensorboard.block_graph import Blocks, block_graph
from nettailor.views.tensorboard.events import At, picture, write_events
from nettailor.views.tensorboard.hparams import Hparam, metrics_of, session_end, session_start
from nettailor.views.tensorboard.recorder import GRAPHS, SEARCH


@dataclass(frozen=True)
class Results:
    """What is known of a run.

    Attributes:
        graphs: by when they were: keys of `GRAPHS`.
        hparams: choices of its recipe; None where no report goes with them, or where the run has written them already.
        fixed_macs: of stem and head.
        step: of the time axis, at the run's end.
    """

    graphs: Mapping[str, Blocks]
    report: Report | None = None
    confusion: Confusion | None = None
    front: Front | None = None
    hparams: Mapping[str, Hparam] | None = None
    fixed_macs: int = 0
    step: int = 0


def write_results(folder: Path, results: Results) -> None:
    """Write it, in place of what was written so before.

    Raises:
        FileError: the folder can't be written.
    """
    found: list[Summary] = []
    if results.hparams is not None and results.report is not None:
        found += session_start(results.hparams)
    if results.report is not None:
        found += [scalar(tag, value) for tag, value in metrics_of(results.report).items()]
        found.append(session_end())
        if (image := pictures.search_of(results.report, results.fixed_macs)) is not None:
            found.append(picture(SEARCH, image))
    if results.front is not None:
        found.append(picture("front", pictures.front(results.front)))
    if results.confusion is not None:
        found.append(picture("confusion", pictures.confusion_matrix(results.confusion)))
    if found:
        write_events(folder, "results", [At(summary, results.step) for summary in found])
    for when, blocks in results.graphs.items():
        write_events(folder / "graphs" / GRAPHS[when], "graph", [block_graph(blocks)])
