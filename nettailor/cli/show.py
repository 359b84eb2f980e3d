"""`nettailor show`: the kept blocks, layer by layer, in the terminal, as a drawing, or as a page."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from nettailor.cli.inputs import backbone_of
from nettailor.cli.options import option, position


@dataclass
class ShowOptions:
    """The kept blocks and proxies of finished runs over one backbone, layer by layer."""

    run: list[Path] = position("runs' folders, or their deltas', or hf://user/name", "RUN")
    html: Path | None = option("write a page about them into this file: it needs no network", metavar="FILE")
    svg: Path | None = option("also draw the blocks of one run into this file", metavar="FILE")
    tensorboard: Path | None = option("also write them for TensorBoard into this folder", metavar="DIR")
    backbone: str | None = option("the backbone, where its name in the delta is not enough", metavar="NAME")
    weights: str | None = option("the backbone's weights in a local file", metavar="FILE")
    proxies: str | None = option("import this form of proxy, where the delta uses one", metavar="MODULE:FUNCTION")


def show(options: ShowOptions) -> int:
    """`nettailor show`."""
    from rich.console import Console
    from rich.markup import escape

    from blocks.top import describe
    from nettailor.errors import UsageError
    from nettailor.files import write_text
    from nettailor.jobs.show import load_together, page_data
    from nettailor.pruning.graph import BlockGraph
    from nettailor.views.block_diagram import draw_svg
    from nettailor.views.html.page import render
    from nettailor.views.tables import graph_table

    if options.svg is not None and len(options.run) > 1:
        raise UsageError("--svg draws one run; name one, or write a page about several with --html FILE")
    deltas = load_together(options.run, lambda run: backbone_of(options, run))
    graphs = [BlockGraph.of(delta.net) for delta in deltas]
    backbone = deltas[0].net.backbone
    for delta, graph in zip(deltas, graphs, strict=True):
        table = graph_table(graph, backbone, delta.description.task)
        if (top := delta.net.plan.top) is not None:
            table.caption, table.caption_justify = escape(f"head: {describe(top, backbone)}"), "left"
        Console(highlight=False).print(table)
    if options.svg is not None:
        net, task = deltas[0].net, deltas[0].description.task
        picture = draw_svg(graphs[0], backbone, task, net.plan.copied_from, net.head_reads, net.cost().macs)
        write_text(options.svg, picture)
        print(f"drawn into {options.svg}")
    if options.html is not None:
        write_text(options.html, render(page_data(options.run, deltas, print)))
        print(f"page written into {options.html}")
    if options.tensorboard is not None:
        from nettailor.jobs.tensorboard import write_tensorboard

        folders = _one_each(options.tensorboard, [delta.description.task for delta in deltas])
        for run, delta, folder in zip(options.run, deltas, folders, strict=True):
            write_tensorboard(run, delta, folder)
        print(f"written for TensorBoard: tensorboard --logdir {options.tensorboard}")
    return 0


def _one_each(folder: Path, tasks: list[str]) -> list[Path]:
    """The folder for one run, a folder of its own in it for each of several: runs of one task are numbered."""
    if len(tasks) == 1:
        return [folder]
    seen: Counter[str] = Counter()
    found = []
    for task in tasks:
        seen[task] += 1
        found.append(folder / (task if seen[task] == 1 else f"{task}-{seen[task]}"))
    return found
