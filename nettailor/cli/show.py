"""`nettailor show`: the kept blocks, layer by layer."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from nettailor.cli.inputs import backbone_of
from nettailor.cli.options import option, position


@dataclass
class ShowOptions:
    """The kept blocks and proxies of a finished run, layer by layer."""

    run: Path = position("a run's folder, or its delta's, or hf://user/name", "RUN")
    svg: Path | None = option("also draw them into this file", metavar="FILE")
    backbone: str | None = option("the backbone, where its name in the delta is not enough", metavar="NAME")
    weights: str | None = option("the backbone's weights in a local file", metavar="FILE")
    proxies: str | None = option("import this form of proxy, where the delta uses one", metavar="MODULE:FUNCTION")


def show(options: ShowOptions) -> int:
    """`nettailor show`."""
    from rich.console import Console

    from nettailor.artifacts.delta import load
    from nettailor.files import write_text
    from nettailor.pruning.graph import BlockGraph
    from nettailor.views.block_diagram import draw_svg
    from nettailor.views.tables import graph_table

    delta = load(options.run, backbone_of(options))
    graph, backbone = BlockGraph.of(delta.net), delta.net.backbone
    Console(highlight=False).print(graph_table(graph, backbone, delta.description.task))
    if options.svg is not None:
        write_text(options.svg, draw_svg(graph, backbone, delta.description.task))
        print(f"drawn into {options.svg}")
    return 0
