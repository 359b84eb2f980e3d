"""What a study shows, as Markdown with its pictures: for people, and to be put beside other reports.

CellFigures ... -> report_text -> report.md
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from nettailor.artifacts.study import CellFigures
from nettailor.files import write_text
from nettailor.training.layer_change import LayerChange
from nettailor.views.study_plots import CALLED_BY, depth_groups, factors_drawn, has_gains, picture_of
from nettailor.views.study_tables import ABSENT, HEADINGS, SEED, Group, groups, levels, points, row_of

CHANGE_NOTE = (
    "`|W - W0| / |W0|` and the cosine are over all parameters of a layer; CKA is linear, of centred activations averaged "
    "over positions, before and after; zeros are parts of an activation. Layer 0 is the stem."
)
GAIN_NOTE = (
    "Points are test accuracy above the linear probe, and above training from scratch, of the same pictures and seed."
)
DISTANCE_NOTE = (
    "Proxy-A is 2 (1 - 2 e), e the held-out error of a logistic classifier of the two sets; MMD² is unbiased, its kernel as "
    "wide as the median distance. Both are measured on features of the frozen backbone."
)


def report_text(study: str, cells: Sequence[CellFigures], axes: Sequence[str], folder: Path) -> str:
    """Write `report.md` into a study's folder; returns its text."""
    tasks = sorted({cell.task for cell in cells})
    seeds = sorted({cell.seed for cell in cells})
    trained = sorted({cell.train for cell in cells})
    span = f"{trained[0]:,}" if len(trained) == 1 else f"{trained[0]:,} to {trained[-1]:,}"
    lines = [
        f"# {study}",
        "",
        f"{len(cells)} cells on {', '.join(tasks)}, seeds {', '.join(map(str, seeds))}, {span} training pictures. The file "
        "is `study.yaml`, the figures of every cell are in `cells.jsonl`, the runs in `cells/`.",
        "",
        "## Accuracy",
        "",
        f"Mean and standard deviation over seeds. {GAIN_NOTE}",
        "",
        *_choices(cells, axes),
    ]
    for name in factors_drawn(cells, axes):
        lines += ["", f"## By {name}", "", f"![accuracy by {name}]({picture_of(name)})", "", *_by_factor(cells, name)]
    if any(cell.layers for cell in cells):
        lines += ["", "## Change by depth", "", CHANGE_NOTE, "", "![change by depth](change_by_depth.png)", ""]
        lines += _depth(cells, axes)
    if any(cell.distance for cell in cells):
        lines += ["", "## Source and target", "", DISTANCE_NOTE, ""]
        lines += ["![gain by distance](gain_by_distance.png)", ""] if has_gains(cells) else []
        lines += _distances(cells)
    if any(cell.source for cell in cells):
        lines += ["", "## Source networks", "", *_sources(cells)]
    text = "\n".join(lines) + "\n"
    write_text(folder / "report.md", text)
    return text


def _table(headings: Sequence[str], rows: Iterable[Sequence[str]], left: int = 1) -> list[str]:
    """A Markdown table; the columns behind the first `left` are set to the right."""
    rule = ["---" if place < left else "---:" for place in range(len(headings))]
    shown = [[cell.replace("|", "\\|") for cell in row] for row in (headings, *rows)]
    return ["| " + " | ".join(row) + " |" for row in (shown[0], rule, *shown[1:])]


def _choices(cells: Sequence[CellFigures], axes: Sequence[str]) -> list[str]:
    found = groups(cells, axes)
    names = list(found[0].factors)
    rows = (
        [ABSENT if value is None else str(value) for value in group.factors.values()] + row_of(group) for group in found
    )
    return _table([*names, *HEADINGS], rows, left=len(names))


def _by_factor(cells: Sequence[CellFigures], factor: str) -> list[str]:
    headings = (factor, "cells", "test %", "over probe", "over scratch")
    rows = []
    for group in levels(cells, factor):
        test = group.figure(lambda cell: cell.test_accuracy)
        rows.append(
            [
                str(group.factors[factor]),
                str(len(group.cells)),
                ABSENT if test is None else test.percent(),
                points(group.figure(lambda cell: cell.over_probe)),
                points(group.figure(lambda cell: cell.over_scratch)),
            ]
        )
    note = "Mean and deviation over all cells with each value, other factors and seeds alike."
    return [note, "", *_table(headings, rows)]


def _depth(cells: Sequence[CellFigures], axes: Sequence[str]) -> list[str]:
    lines: list[str] = []
    shown = depth_groups(cells, [name for name in axes if name != SEED])
    for group in shown:
        headings = ("layer", "name", "change", "cosine", "CKA", "zeros before", "zeros after")
        lines += [f"{group.label or 'all cells'}:", "", *_table(headings, map(_layer, group.layers()), left=2), ""]
    return lines[:-1]


def _layer(change: LayerChange) -> list[str]:
    figures = (change.weights, change.cosine, change.cka, change.zeros_before, change.zeros_after)
    return [str(change.layer), change.name, *(ABSENT if value is None else f"{value:.3f}" for value in figures)]


def _distances(cells: Sequence[CellFigures]) -> list[str]:
    made: dict[tuple[str, ...], Group] = {}
    for cell in cells:
        if (found := cell.distance) is not None:
            named = [str(value) for name in CALLED_BY if (value := cell.factors.get(name)) is not None]
            pair = ", ".join(named) or cell.task
            shown = (
                pair,
                f"{Path(found.source).name} ({found.pictures[0]:,})",
                f"{Path(found.target).name} ({found.pictures[1]:,})",
                f"{found.proxy_a:.3f}",
                f"{found.mmd2:.4f}",
                cell.method,
            )
            made.setdefault(shown, Group({}, [])).cells.append(cell)
    headings = ("pair", "source", "target", "proxy-A", "MMD²", "method", "over probe", "over scratch")
    rows = (
        [
            *shown,
            points(group.figure(lambda cell: cell.over_probe)),
            points(group.figure(lambda cell: cell.over_scratch)),
        ]
        for shown, group in made.items()
    )
    return _table(headings, rows, left=3)


def _sources(cells: Sequence[CellFigures]) -> list[str]:
    found = {repr(cell.source): cell.source for cell in cells if cell.source is not None}
    headings = ("source network", "data", "classes", "pictures", "of each", "passes", "validation %")
    rows = []
    for source in found.values():
        each = sorted(set(source.each))
        rows.append(
            [
                source.backbone,
                Path(source.data).name,
                str(len(source.classes)),
                f"{sum(source.each):,}",
                "-".join(map(str, each[:: max(1, len(each) - 1)])),
                str(source.epochs),
                ABSENT if source.val_accuracy is None else f"{100 * source.val_accuracy:.1f}",
            ]
        )
    return _table(headings, rows, left=2)
