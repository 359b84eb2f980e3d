"""A backbone and a compact net as the page draws them.

Backbone -> backbone_data        CompactNet -> graph_data, shared_data
"""

from __future__ import annotations

from collections.abc import Sequence

from blocks import Backbone, CompactNet
from blocks.counting import count_params, tensors_of
from blocks.top import describe
from nettailor.artifacts.report import Report
from nettailor.pruning.graph import BlockGraph
from nettailor.views.html.data import BackboneData, BlockData, GraphData, PathData, SharedData

ELEMENT = 4  # bytes of a float32


def backbone_data(backbone: Backbone) -> BackboneData:
    """Names, shapes and costs of a backbone's blocks."""
    rows = zip(backbone.block_names, backbone.shapes[1:], backbone.block_costs, strict=True)
    return BackboneData(
        name=backbone.name,
        macs=backbone.cost.macs,
        params=backbone.cost.params,
        input_size=backbone.spec.size,
        stem_macs=backbone.stem_cost.macs,
        stem_shape=backbone.shapes[0],
        blocks=[BlockData(name, shape, cost.macs, cost.params) for name, shape, cost in rows],
    )


def graph_data(net: CompactNet) -> GraphData:
    """The kept paths of a compact net; of each, how much of it is the backbone's and how much the task's own."""
    graph, shared = BlockGraph.of(net), net.shared_params()
    tasks = {id(tensor) for tensor in net.task_tensors().values()}
    paths = []
    for path, data in graph.edges():
        own = count_params(tensor for tensor in tensors_of(net.module_of(path)).values() if id(tensor) in tasks)
        form, read = path.form, data["params"] - own  # of a thinned block, what it reads of its convolutions
        paths.append(PathData(path.key, path.source, path.target, form, data["gate"], data["macs"], read, own))
    stem, head = (count_params(tensors_of(part).values()) for part in (net.stem, net.head))
    ends, top = max(0, net.cost().macs - graph.macs()), net.plan.top
    return GraphData(
        depth=net.depth,
        copied_from=net.plan.copied_from,
        paths=paths,
        stem_own=stem - shared.get("stem", 0),
        head_macs=max(0, ends - net.backbone.stem_cost.macs),
        head_own=head - shared.get("head", 0),
        top="" if top is None else describe(top, net.backbone),
        top_reads=[] if top is None else list(top.reads(net.backbone)),
    )


def shared_data(nets: Sequence[CompactNet], deltas: int, reports: Sequence[Report | None]) -> SharedData:
    """What several networks over one backbone weigh together.

    Args:
        nets: at least one.
        deltas: bytes of all their deltas.
        reports: of the same networks, where there are any.
    """
    union: dict[str, int] = {}
    for net in nets:
        for part, count in net.shared_params().items():
            union[part] = max(count, union.get(part, 0))
    sizes = [None if report is None else report.compact.private_params for report in reports]
    known = [size for size in sizes if size is not None]
    return SharedData(
        backbone=ELEMENT * nets[0].backbone.cost.params,
        union=ELEMENT * sum(union.values()),
        deltas=deltas,
        private=ELEMENT * sum(known) if len(known) == len(nets) else None,
    )
