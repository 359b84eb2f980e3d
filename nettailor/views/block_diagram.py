"""A drawing of a kept graph as SVG, in the colours of the page (`nettailor.views.html`) and of the paper's figures."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any

from blocks import Backbone, Path
from nettailor.pruning.graph import BlockGraph

COLUMN, TOP, ROW, BOX = 58, 150, 34, 38
LEGEND = (
    "grey: frozen blocks that all tasks share; orange: this task's own; dashed: removed; fainter: a smaller gate; "
    "wider: more MACs"
)
INK, SOFT, KEPT, GONE, OWN = "#1b1f24", "#57606a", "#848d97", "#b9c0c7", "#c2570c"
FAINTEST = 0.3  # opacity of a path whose gate is 0


def draw_svg(
    graph: BlockGraph,
    backbone: Backbone,
    title: str,
    copied_from: int | None = None,
    head_reads: Sequence[int] = (),
    macs: int | None = None,
) -> str:
    """The backbone as a row of blocks: kept ones filled, removed ones dashed, kept proxies as arcs above them.

    Args:
        copied_from: from this block on they are the task's own copies, and not the shared ones; None where none is.
        head_reads: activations that new units in the head read; the last one is not drawn.
        macs: of the whole network; its paths' and the backbone's own stem and head if left out.
    """
    kept = {path.target: data for path, data in graph.edges() if path.is_universal}
    alive = {0, *(path.target for path in graph.paths)}
    width = COLUMN * (backbone.depth + 2)
    most = max(1, *(cost.macs for cost in backbone.block_costs))
    whole = graph.macs() + backbone.stem_cost.macs + backbone.head_cost.macs if macs is None else macs
    part = whole / backbone.cost.macs
    left = f"{1 - part:.0%} of the MACs gone" if part <= 1 else f"{part:.0%} of the MACs"
    caption = f"{title}: {len(kept)} of {backbone.depth} universal blocks kept, {left}"
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {TOP + 90}" font-family="sans-serif" font-size="11">',
        f'<rect width="{width}" height="{TOP + 90}" fill="white"/>',
        f'<text x="12" y="22" font-size="15" fill="{INK}">{escape(caption)}</text>',
        f'<text x="12" y="40" fill="{SOFT}">{LEGEND}</text>',
        _label(0, "stem", INK, -12),
    ]
    parts += [_arc(path, data, most) for path, data in graph.edges() if not path.is_universal]
    parts += [_head_arc(source, backbone.depth) for source in head_reads if source != backbone.depth]
    for layer, name in enumerate(backbone.block_names, 1):
        own = kept.get(layer)
        line = INK if own and (layer - 1) in alive else GONE
        ends = f'x1="{_centre(layer - 1):.1f}" y1="{TOP}" x2="{_centre(layer):.1f}" y2="{TOP}"'
        parts.append(f'<line {ends} stroke="{line}"/>')
        cost = backbone.block_costs[layer - 1].macs if own is None else own["macs"]
        copied = copied_from is not None and layer >= copied_from
        parts.append(_block(layer, own, cost / most, OWN if copied else KEPT))
        parts.append(_label(layer, name, INK if own else SOFT, -COLUMN / 2))
        shown = " x ".join(str(side) for side in backbone.shapes[layer])
        middle = f'x="{_centre(layer) - COLUMN / 2:.1f}" y="{TOP + 52}"'
        parts.append(f'<text {middle} font-size="8" text-anchor="middle" fill="{SOFT}">{shown}</text>')
    for layer in range(backbone.depth + 1):
        fill = INK if layer in alive else GONE
        parts.append(f'<circle cx="{_centre(layer):.1f}" cy="{TOP}" r="3.5" fill="{fill}"/>')
    parts.append(_label(backbone.depth, "head", INK, 24))
    return "\n".join([*parts, "</svg>"]) + "\n"


def _block(layer: int, kept: dict[str, Any] | None, part: float, colour: str) -> str:
    """A box, as wide as its part of the most MACs that a block has."""
    wide = max(6.0, BOX * part)
    left = f"{_centre(layer) - COLUMN / 2 - wide / 2:.1f}"
    box = f'x="{left}" y="{TOP - 14}" width="{wide:.1f}" height="28" rx="4"'
    if kept is None:
        return f'<rect {box} fill="white" stroke="{GONE}" stroke-dasharray="4 3"/>'
    back = (
        f'<path d="M {left} {TOP} h {wide:.1f}" stroke="white" stroke-width="27"/>'  # hides the line below a faint box
    )
    return f'{back}<rect {box} fill="{colour}" fill-opacity="{_opacity(kept["gate"]):.2f}"/>'


def _arc(path: Path, data: dict[str, Any], most: int) -> str:
    """A proxy, as thick as its part of the most MACs that a block has."""
    left, right = _centre(path.source), _centre(path.target)
    lift = TOP - 14 - 2 * ROW * (path.target - path.source) / 1.5
    thick = max(1.5, BOX * data["macs"] / most)
    return (
        f'<path d="M {left:.1f} {TOP - 12} Q {(left + right) / 2:.1f} {lift:.1f} {right:.1f} {TOP - 12}" fill="none" '
        f'stroke="{OWN}" stroke-width="{thick:.2f}" stroke-opacity="{_opacity(data["gate"]):.2f}">'
        f"<title>{path.key}</title></path>"
    )


def _head_arc(source: int, depth: int) -> str:
    """From an activation into the head, where new units read it."""
    left, right = _centre(source), _centre(depth) + 24
    lift = TOP - 14 - 2 * ROW * (depth + 1 - source) / 1.5
    return (
        f'<path d="M {left:.1f} {TOP - 12} Q {(left + right) / 2:.1f} {lift:.1f} {right:.1f} {TOP + 24}" fill="none" '
        f'stroke="{OWN}" stroke-width="1.5"><title>new units in the head</title></path>'
    )


def _opacity(gate: float) -> float:
    return FAINTEST + (1 - FAINTEST) * min(1.0, abs(gate))


def _centre(layer: int) -> float:
    return COLUMN * (layer + 0.6)


def _label(layer: int, text: str, colour: str, shift: float = 0) -> str:
    place = f'x="{_centre(layer) + shift:.1f}" y="{TOP + 36}"'
    return f'<text {place} text-anchor="middle" fill="{colour}">{escape(text)}</text>'
