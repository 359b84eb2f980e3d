"""The verbs that look at a model before any task is there: how it is cut, and what its parts cost on this device."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from nettailor.cli.options import option, position
from nettailor.errors import UsageError

if TYPE_CHECKING:
    from blocks import Backbone, Plan

MODEL = (
    "resnet34_tiny, efficientnet_lite0, timm/NAME, torchvision/NAME or module:callable; "
    "further arguments of the model after commas"
)


@dataclass
class BlocksOptions:
    """How a model is cut: its blocks, their shapes and costs, and what the proxies beside them would cost.

    No pretrained weights are needed: costs depend on the architecture alone.
    """

    model: str = position(MODEL, "MODEL")
    input_size: int | None = option("side of the input in pixels; the model's own if left out", metavar="PIXELS")
    skips: int = option("how many activations back proxies reach", default=3, metavar="K")
    proxies: str = option(
        "conv1x1, bottleneck, identity, thinned, auto or module:function", default="auto", metavar="FORM"
    )
    json: bool = option("print JSON instead of a table", default=False)


@dataclass
class ProfileOptions:
    """Milliseconds of every block and proxy of a model on this device, as a table and as a cost table for recipes.

    The table is used by: nettailor adapt cost=latency cost_table=FILE
    """

    model: str = position(MODEL, "MODEL")
    input_size: int | None = option("side of the input in pixels; the model's own if left out", metavar="PIXELS")
    skips: int = option("how many activations back proxies reach", default=3, metavar="K")
    proxies: str = option(
        "conv1x1, bottleneck, identity, thinned, auto or module:function", default="auto", metavar="FORM"
    )
    batch: int = option("pictures at once", default=1, metavar="N")
    threads: int | None = option("CPU threads of torch; its own config if left out", metavar="N")
    rounds: int = option("how often every part is measured", default=50, metavar="N")
    device: str = option("cpu, cuda or auto: a GPU where there is one", default="auto", metavar="DEVICE")
    out: Path | None = option("the cost table's file (default: costs/MODEL-PIXELS.json)", metavar="FILE")
    json: bool = option("print the cost table as JSON instead of a table", default=False)


def blocks(options: BlocksOptions) -> int:
    """`nettailor blocks`."""
    from nettailor.backbones.summary import summarize
    from nettailor.progress import Display
    from nettailor.views.tables import summary_of_model_table

    backbone, plan = _model(options)
    found = summarize(backbone, plan)
    if options.json:
        print(json.dumps(found.as_dict(), indent=2))
    else:
        Display().console.print(summary_of_model_table(found))
    return 0


def profile(options: ProfileOptions) -> int:
    """`nettailor profile`."""
    import torch

    from blocks.latency import WARM_UP
    from nettailor.artifacts.cost_table import measure_costs
    from nettailor.environment import pick_device
    from nettailor.progress import Display
    from nettailor.views.tables import costs_table

    for name in ("batch", "rounds", "threads"):
        if (value := getattr(options, name)) is not None and value < 1:
            raise UsageError(f"--{name}: must be at least 1, but it is {value}")
    backbone, plan = _model(options)
    display = Display(quiet=options.json)
    threads = options.threads or torch.get_num_threads()

    def watch(turns: Iterator[int]) -> Iterator[int]:
        with display.turns("measuring", options.rounds + WARM_UP) as advance:
            for turn in turns:
                yield turn
                advance()

    device = pick_device(options.device)
    table = measure_costs(backbone, plan, options.batch, threads, device, options.rounds, watch)
    plain = re.sub(r"[^\w.-]+", "-", options.model)
    out = options.out or Path("costs") / f"{plain}-{backbone.spec.size}.json"
    table.write(out)
    if options.json:
        print(out.read_text(encoding="utf-8"))
    else:
        display.console.print(costs_table(table))
        display.say(f"written to {out}; use it with: nettailor adapt cost=latency cost_table={out}")
    return 0


def _model(options: BlocksOptions | ProfileOptions) -> tuple[Backbone, Plan]:
    from blocks import Plan
    from nettailor.backbones.load import load_backbone
    from nettailor.training.proxy_forms import find_form

    if options.skips < 0:
        raise UsageError(f"--skips: must be at least 0, but it is {options.skips}")
    form = find_form(options.proxies)
    return load_backbone(options.model, None, options.input_size, untrained=True), Plan(options.skips, form)
