"""Pictures of a kept graph: a table for the terminal, a drawing as SVG."""

from __future__ import annotations

from html import escape

from blocks import Backbone
from nettailor.pruning.graph import BlockGraph

COLUMN, TOP, ROW = 58, 150, 34
LEGEND = (
    "blue: frozen blocks that all tasks share; orange: this task's proxies, thicker with a larger gate; dashed: removed"
)
INK, KEPT, GONE, PROXY = "#24292f", "#2f6fbb", "#d0d7de", "#d9822b"


def draw_svg(graph: BlockGraph, backbone: Backbone, title: str) -> str:
    """The backbone as a row of blocks: kept ones filled, removed ones dashed, kept proxies as arcs above them."""
    kept = {path.target: data for path, data in graph.edges() if path.is_universal}
    alive = {0, *(path.target for path in graph.paths)}
    width = COLUMN * (backbone.depth + 2)
    saved = 1 - (graph.macs() + backbone.stem_cost.macs + backbone.head_cost.macs) / backbone.cost.macs
    caption = f"{title}: {len(kept)} of {backbone.depth} universal blocks kept, {saved:.0%} of the MACs gone"
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {TOP + 90}" font-family="sans-serif" font-size="11">',
        f'<rect width="{width}" height="{TOP + 90}" fill="white"/>',
        f'<text x="12" y="22" font-size="15" fill="{INK}">{escape(caption)}</text>',
        f'<text x="12" y="40" fill="{INK}">{LEGEND}</text>',
        f'<text x="{_centre(0)}" y="{TOP - 20}" text-anchor="middle" fill="{INK}">stem</text>',
    ]
    for path, data in graph.edges():
        if not path.is_universal:
            left, right = _centre(path.source), _centre(path.target)
            lift = TOP - 14 - 2 * ROW * (path.target - path.source) / 1.5
            parts.append(
                f'<path d="M {left} {TOP - 12} Q {(left + right) / 2} {lift} {right} {TOP - 12}" fill="none" '
                f'stroke="{PROXY}" stroke-width="{1 + 3 * abs(data["gate"]):.1f}"><title>{path.key}</title></path>'
            )
    for layer, (name, shape) in enumerate(zip(backbone.block_names, backbone.shapes[1:], strict=True), 1):
        middle = _centre(layer) - COLUMN / 2
        own = layer in kept
        style = f'fill="{KEPT}" stroke="{KEPT}"' if own else f'fill="white" stroke="{GONE}" stroke-dasharray="4 3"'
        line = INK if own and (layer - 1) in alive else GONE
        parts.append(f'<line x1="{_centre(layer - 1)}" y1="{TOP}" x2="{_centre(layer)}" y2="{TOP}" stroke="{line}"/>')
        parts.append(f'<rect x="{middle - 17}" y="{TOP - 14}" width="34" height="28" rx="4" {style}/>')
        parts.append(_label(layer, name, INK if own else "#8c959f", -COLUMN / 2))
        shown = f"{shape[0]} x {shape[1]} x {shape[2]}"
        parts.append(
            f'<text x="{middle}" y="{TOP + 52}" font-size="8" text-anchor="middle" fill="#8c959f">{shown}</text>'
        )
    for layer in range(backbone.depth + 1):
        fill = INK if layer in alive else GONE
        parts.append(f'<circle cx="{_centre(layer)}" cy="{TOP}" r="4" fill="{fill}"/>')
    parts.append(_label(backbone.depth, "head", INK, 24))
    return "\n".join([*parts, "</svg>"]) + "\n"


def _centre(layer: int) -> float:
    return COLUMN * (layer + 0.6)


def _label(layer: int, text: str, colour: str, shift: float = 0) -> str:
    return (
        f'<text x="{_centre(layer) + shift}" y="{TOP + 36}" text-anchor="middle" fill="{colour}">{escape(text)}</text>'
    )
