"""What the page says of a network agrees with the network."""

from __future__ import annotations

from dataclasses import replace

from blocks import Backbone, CompactNet, NetPlan, Path, Plan, TailoredNet, compact
from blocks.counting import ReadsSome, count_params
from blocks.grown import Grown, Growth
from blocks.paths import UNIVERSAL
from nettailor.views.html.network import backbone_data, graph_data, shared_data
from tests import fabricated


def test_the_backbone_is_named_and_counted(backbone: Backbone) -> None:
    data = backbone_data(backbone)
    assert [block.name for block in data.blocks] == backbone.block_names
    assert sum(block.macs for block in data.blocks) + data.stem_macs + backbone.head_cost.macs == data.macs
    assert [data.stem_shape, *(block.shape for block in data.blocks)] == backbone.shapes


def test_a_kept_graph_says_what_is_shared_and_what_is_the_tasks_own(backbone: Backbone) -> None:
    net = fabricated.pruned(backbone)
    data = graph_data(net)
    assert [path.key for path in data.paths] == [path.key for path in net.paths]
    assert sum(path.macs for path in data.paths) + backbone.stem_cost.macs + data.head_macs == net.cost().macs
    own = sum(path.own for path in data.paths) + data.stem_own + data.head_own
    gates = sum(gate.numel() for gate in net.gates.values())
    assert own + gates == sum(tensor.numel() for tensor in net.task_tensors().values())
    proxy = next(path for path in data.paths if path.form != UNIVERSAL)
    assert (proxy.key, proxy.shared, proxy.own > 0) == ("A2-3", 0, True)
    assert all(path.shared > 0 for path in data.paths if path.form == UNIVERSAL)
    assert data.copied_from is None
    assert data.top == ""


def test_of_a_thinned_block_the_channels_that_it_reads_are_the_backbones(backbone: Backbone) -> None:
    student = TailoredNet(backbone, 3, Plan(skips=1, proxies="thinned")).eval()
    student.keep(path for path in student.paths if not (path.is_universal and path.target == 2))
    net = compact(student)
    path = next(path for path in graph_data(net).paths if path.key == "A1-2")
    assert path.form == "thinned"
    kernel = sum(sum(m.elements_read().values()) for m in net.proxies["1-2"].modules() if isinstance(m, ReadsSome))
    own = {name: tensor for name, tensor in net.task_tensors().items() if name.startswith("proxies.1-2.")}
    assert (path.shared, path.own) == (kernel, count_params(own.values()))
    assert kernel > 0


def test_copies_share_nothing_and_a_shallow_cut_ends_early(backbone: Backbone) -> None:
    copies = graph_data(compact(backbone.teacher(3), backbone))
    assert copies.copied_from == 0
    assert {path.shared for path in copies.paths} == {0}
    paths = tuple(Path(layer, 0, UNIVERSAL) for layer in (1, 2))
    shallow = graph_data(CompactNet(backbone, NetPlan(paths, 3, copied=True, head="pooled", gated=False)))
    assert (shallow.depth, len(shallow.paths)) == (2, 2)


def test_blocks_below_the_tuned_ones_are_the_backbones(backbone: Backbone) -> None:
    paths = tuple(Path(layer, 0, UNIVERSAL) for layer in range(1, 7))
    found = [
        graph_data(CompactNet(backbone, NetPlan(paths, 3, copied=True, gated=False, tuned_from=first)))
        for first in (0, 4, 7, 8)
    ]
    assert [data.copied_from for data in found] == [0, 4, None, None]
    assert [path.shared > 0 for path in found[1].paths] == [True] * 3 + [False] * 3


def test_what_a_head_is_made_of_is_said_with_what_it_reads(backbone: Backbone) -> None:
    paths = tuple(Path(layer, 0, UNIVERSAL) for layer in range(1, 7))
    net = CompactNet(backbone, NetPlan(paths, 3, copied=True, gated=False, top=Grown((Growth("width", 8),))))
    data = graph_data(net)
    assert data.top.startswith("grown by 8 units beside the top layer")
    assert data.top_reads == [5, 6]
    assert sum(path.macs for path in data.paths) + backbone.stem_cost.macs + data.head_macs == net.cost().macs


def test_networks_together_weigh_their_union_and_their_deltas(backbone: Backbone) -> None:
    one, other = fabricated.pruned(backbone), compact(backbone.teacher(3), backbone)
    report = fabricated.report()
    known = replace(report, compact=replace(report.compact, private_params=100))
    shared = shared_data([one, other], 5000, [known, known])
    assert (shared.backbone, shared.deltas, shared.private) == (4 * backbone.cost.params, 5000, 800)
    assert shared.union == 4 * sum(one.shared_params().values()), "the second shares nothing"
    assert shared_data([one, one], 5000, [known, known]).union == shared.union
    assert shared_data([one, one], 5000, [known, None]).private is None
