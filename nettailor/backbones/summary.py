"""How a backbone is cut, as rows: what `nettailor blocks` prints and writes as JSON.

backbone, plan -> summarize -> Summary(blocks with their proxies, stem, head)
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import torch

from blocks import Backbone, Plan
from blocks.assembly import path_costs
from blocks.proxies import Proxy, Shape
from blocks.student import candidate_paths


@dataclass(frozen=True)
class ProxyRow:
    """A proxy that would stand beside a block, from x_`source`."""

    source: int
    form: str
    macs: int
    params: int


@dataclass(frozen=True)
class BlockRow:
    """A part of the backbone: `G3` and its module path, shapes (C, H, W), costs, shares of the whole backbone."""

    key: str
    module: str
    input: Shape
    output: Shape
    macs: int
    params: int
    macs_share: float
    params_share: float
    proxies: tuple[ProxyRow, ...] = ()


@dataclass(frozen=True)
class Summary:
    """A backbone in parts, stem first and head last; the source classifier is not counted."""

    backbone: str
    input_size: int
    macs: int
    params: int
    parts: tuple[BlockRow, ...]

    def as_dict(self) -> dict[str, Any]:
        """Plain values, as JSON holds them."""
        return asdict(self)


def summarize(backbone: Backbone, plan: Plan) -> Summary:
    """The parts of a backbone, and beside each block the proxies of a plan."""
    whole, side = backbone.cost, backbone.spec.size
    proxies: dict[int, list[ProxyRow]] = {}
    with torch.device("meta"):  # shapes are all that costs depend on
        for path in candidate_paths(backbone, plan):
            if not path.is_universal:
                cost = path_costs(backbone, path, Proxy(path.form, backbone.site(path.source, path.target, plan.rank)))
                proxies.setdefault(path.target, []).append(ProxyRow(path.source, path.form, cost.macs, cost.params))
    picture, shapes = (3, side, side), backbone.shapes
    names = ["stem", *backbone.block_names, "head"]
    costs = [backbone.stem_cost, *backbone.block_costs, backbone.head_cost]
    into = [picture, *shapes]
    out_of = [*shapes, (backbone.features, 1, 1)]
    rows = []
    for number, (name, cost, source, target) in enumerate(zip(names, costs, into, out_of, strict=True)):
        key = f"G{number}" if 0 < number <= backbone.depth else ""
        shares = cost.macs / whole.macs, cost.params / whole.params
        beside = tuple(proxies.get(number, ())) if key else ()
        rows.append(BlockRow(key, name, source, target, cost.macs, cost.params, *shares, beside))
    return Summary(backbone.name, side, whole.macs, whole.params, tuple(rows))
