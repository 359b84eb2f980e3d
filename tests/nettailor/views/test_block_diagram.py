"""The drawing shows every block, kept or removed, and every kept proxy."""

from __future__ import annotations

from xml.etree import ElementTree

from blocks import Backbone, Plan, TailoredNet
from nettailor.pruning.graph import BlockGraph
from nettailor.views.block_diagram import BOX, GONE, INK, KEPT, OWN, draw_svg
from tests import fabricated

SVG = "{http://www.w3.org/2000/svg}"


def drawn(graph: BlockGraph, backbone: Backbone, title: str = "birds") -> ElementTree.Element:
    return ElementTree.fromstring(draw_svg(graph, backbone, title))


def texts(picture: ElementTree.Element) -> list[str]:
    return [text.text or "" for text in picture.iter(f"{SVG}text")]


def test_kept_blocks_are_filled_removed_ones_dashed_and_proxies_are_arcs(backbone: Backbone) -> None:
    graph = BlockGraph.of(fabricated.pruned(backbone))
    picture = drawn(graph, backbone)
    boxes = list(picture.iter(f"{SVG}rect"))[1:]
    assert [box.get("fill") for box in boxes] == [KEPT, KEPT, "white", KEPT, KEPT, KEPT]
    assert [box.get("stroke-dasharray") is not None for box in boxes] == [False, False, True, False, False, False]
    (arc,) = (path for path in picture.iter(f"{SVG}path") if path.get("stroke") != "white")
    assert arc.get("stroke") == OWN
    title = arc.find(f"{SVG}title")
    assert title is not None
    assert title.text == "A2-3"
    assert [name for name in backbone.block_names if name in texts(picture)] == list(backbone.block_names)


def test_the_caption_counts_blocks_and_macs_with_stem_and_head(backbone: Backbone) -> None:
    net = fabricated.pruned(backbone)
    graph = BlockGraph.of(net)
    left = graph.macs() + backbone.stem_cost.macs + backbone.head_cost.macs
    gone = f"{1 - left / backbone.cost.macs:.0%} of the MACs gone"
    assert f"birds: 5 of 6 universal blocks kept, {gone}" in texts(drawn(graph, backbone))
    whole = BlockGraph.of(TailoredNet(backbone, 2, Plan(0)))
    assert "birds: 6 of 6 universal blocks kept, 0% of the MACs gone" in texts(drawn(whole, backbone))


def test_a_larger_gate_is_less_faint(backbone: Backbone) -> None:
    graph = BlockGraph.of(TailoredNet(backbone, 2, Plan(1)))
    for weight, (path, data) in enumerate(graph.edges()):
        if not path.is_universal:
            data["gate"] = -weight / 12
    arcs = [arc for arc in drawn(graph, backbone).iter(f"{SVG}path") if arc.get("stroke") == OWN]
    shown = [float(arc.get("stroke-opacity") or 0) for arc in arcs]
    assert shown == sorted(shown)
    assert len(set(shown)) == len(shown) == 6, "a gate's sign does not count"
    assert 0.3 <= min(shown) < max(shown) <= 1


def test_more_macs_are_wider_on_one_scale_for_blocks_and_proxies(backbone: Backbone) -> None:
    graph = BlockGraph.of(TailoredNet(backbone, 2, Plan(0)))
    macs = [cost.macs for cost in backbone.block_costs]
    boxes = [float(box.get("width") or 0) for box in list(drawn(graph, backbone).iter(f"{SVG}rect"))[1:]]
    assert boxes == [round(max(6.0, BOX * count / max(macs)), 1) for count in macs]
    assert len(set(boxes)) > 1
    graph = BlockGraph.of(TailoredNet(backbone, 2, Plan(1)))
    for path, data in graph.edges():
        if not path.is_universal:
            data["macs"] = max(macs) / 4
    arcs = [arc for arc in drawn(graph, backbone).iter(f"{SVG}path") if arc.get("stroke") == OWN]
    assert {arc.get("stroke-width") for arc in arcs} == {f"{BOX / 4:.2f}"}


def test_copies_have_the_colour_of_what_is_the_tasks_own(backbone: Backbone) -> None:
    graph = BlockGraph.of(TailoredNet(backbone, 2, Plan(0)))
    picture = ElementTree.fromstring(draw_svg(graph, backbone, "birds", copied_from=0))
    assert {box.get("fill") for box in list(picture.iter(f"{SVG}rect"))[1:]} == {OWN}
    picture = ElementTree.fromstring(draw_svg(graph, backbone, "birds", copied_from=4))
    assert [box.get("fill") for box in list(picture.iter(f"{SVG}rect"))[1:]] == [KEPT] * 3 + [OWN] * 3


def test_new_units_in_the_head_are_an_arc_and_their_macs_count(backbone: Backbone) -> None:
    graph = BlockGraph.of(TailoredNet(backbone, 2, Plan(0)))
    macs = round(1.2 * backbone.cost.macs)
    picture = ElementTree.fromstring(draw_svg(graph, backbone, "birds", 0, (5, 6), macs))
    (arc,) = (path for path in picture.iter(f"{SVG}path") if path.get("stroke") == OWN)
    assert [title.text for title in arc] == ["new units in the head"]
    assert "birds: 6 of 6 universal blocks kept, 120% of the MACs" in texts(picture)


def test_activations_that_nothing_reaches_are_faint(backbone: Backbone) -> None:
    whole = BlockGraph.of(TailoredNet(backbone, 2, Plan(2)).eval())
    paths = {path.key: path for path in whole.paths}
    graph = whole.without([path for key, path in paths.items() if key in ("G3", "A2-3", "A1-3")])
    fills = [dot.get("fill") for dot in drawn(graph, backbone).iter(f"{SVG}circle")]
    assert fills == [INK, INK, INK, GONE, INK, INK, INK]


def test_a_title_is_text_and_no_markup(backbone: Backbone) -> None:
    graph = BlockGraph.of(fabricated.pruned(backbone))
    assert any(text.startswith("<b> & co: 5 of 6") for text in texts(drawn(graph, backbone, "<b> & co")))
