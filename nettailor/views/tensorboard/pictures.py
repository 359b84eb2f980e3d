"""The pictures in TensorBoard's Images tab: gates over time, the search, the front, the confusion matrix.

Timeline, paths -> gates_over_time      trials -> search      Front -> front      Confusion -> confusion_matrix
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL.Image import Image

from blocks import Path
from nettailor.artifacts.confusion import Confusion
from nettailor.artifacts.pareto import Front
from nettailor.artifacts.report import Report
from nettailor.views.tensorboard.drawing import (
    BLUES,
    FAINT,
    GONE,
    INK,
    ORANGES,
    RULE,
    WHITE,
    Canvas,
    Chart,
    Mark,
    coloured,
    draw_chart,
    shortened,
    text_width,
)
from nettailor.views.tensorboard.timeline import Timeline

MAP_WIDTH = 780  # pixels of the time axis
TALLEST = 1400  # pixels of all rows of a map of gates
SMALLEST_NAMED = 8  # pixels of a row that can have a name
SEARCH_LEGEND = {"dot": "student, rounds of pruning", "ring": "recovered", "star": "chosen"}
MOST_NAMED, MOST_COUNTED = 60, 30  # classes whose names, and whose counts, can be read


def gates_over_time(timeline: Timeline, paths: Sequence[Path], names: Sequence[str]) -> Image:
    """A row for each path, layer by layer with the universal block first, and a column for each pass over the data.

    Args:
        paths: of the student.
        names: of the blocks.
    """
    columns = timeline.columns()
    height = int(np.clip(TALLEST // max(1, len(paths)), 3, 14))
    named = height >= SMALLEST_NAMED
    left = 150 if named else 110
    top, rows = 66, height * len(paths)
    canvas = Canvas(left + MAP_WIDTH + 20, top + rows + 84)
    canvas.text(10, 18, "gates over time: a row for each path, a column for each pass over the training pictures", 15)
    _legend(canvas, canvas.image.width - 20, 18)
    first, last = columns[0][1], columns[-1][2]
    ends = [round(MAP_WIDTH * (column[2] - first) / max(1, last - first)) for column in columns]
    for scale, universal in ((BLUES, True), (ORANGES, False)):
        values = np.full((len(paths), MAP_WIDTH), np.nan)
        shown = [place for place, path in enumerate(paths) if path.is_universal == universal]
        for (*_, gates), begin, end in zip(columns, [0, *ends], ends, strict=False):
            values[shown, begin:end] = np.asarray([[float(gates[paths[place].place])] for place in shown])
        pixels = coloured(values, scale).repeat(height, 0)
        for place in shown:
            canvas.paste(pixels[place * height : (place + 1) * height], left, top + place * height)
    _layer_names(canvas, paths, names, left, top, height, named)
    _stage_names(canvas, columns, ends, left, top, rows)
    ticks = [(0, first), *((end, column[2]) for end, column in zip(ends, columns, strict=True))]
    _time_axis(canvas, ticks, left, top + rows)
    return canvas.image


def _legend(canvas: Canvas, right: float, y: float) -> None:
    """The two scales, and what is removed."""
    x = right - 330
    for scale, words in ((BLUES, "block"), (ORANGES, "proxy")):
        canvas.text(x - 6, y, f"{words} 0", 12, INK, "rm")
        canvas.paste(coloured(np.tile(np.linspace(0, 1, 60), (12, 1)), scale), int(x), int(y) - 6)
        canvas.rectangle((x, y - 6, x + 60, y + 6), None, RULE)
        canvas.text(x + 66, y, "1", 12)
        x += 132
    canvas.rectangle((x - 14, y - 6, x, y + 6), GONE, RULE)
    canvas.text(x + 6, y, "removed", 12)


def _layer_names(
    canvas: Canvas, paths: Sequence[Path], names: Sequence[str], left: int, top: int, height: int, named: bool
) -> None:
    """Names of layers at the left, a rule between them, and names of paths where rows are high enough."""
    for layer, name in enumerate(names, 1):
        places = [place for place, path in enumerate(paths) if path.target == layer]
        if not places:
            continue
        begin, end = top + places[0] * height, top + (places[-1] + 1) * height
        canvas.line([(8, begin), (left + MAP_WIDTH, begin)])
        size = int(np.clip(end - begin - 1, 7, 12))
        canvas.text(10, (begin + end) / 2, shortened(name, size, left - (72 if named else 14)), size)
        for place in places if named else []:
            middle = top + (place + 0.5) * height
            canvas.text(left - 6, middle, paths[place].key, min(11, height), FAINT, "rm")


def _stage_names(
    canvas: Canvas,
    columns: Sequence[tuple[str, int, int, object]],
    ends: list[int],
    left: int,
    top: int,
    rows: int,
) -> None:
    """Stages above, with a line where one begins; a name that has no room is cut to its number."""
    begin = 0
    for place, (stage, *_) in enumerate(columns):
        if place + 1 < len(columns) and columns[place + 1][0] == stage:
            continue
        end = ends[place]
        canvas.line([(left + begin, top - 20), (left + begin, top + rows)], INK)
        room, number = end - begin - 6, stage.rpartition("-")[2]
        words = next((words for words in (stage, number) if text_width(words, 11) <= room), "")
        canvas.text(left + begin + 4, top - 12, words, 11)
        begin = end
    canvas.line([(left + begin, top - 20), (left + begin, top + rows)], INK)


def _time_axis(canvas: Canvas, ticks: list[tuple[int, int]], left: int, bottom: int) -> None:
    """Steps below, as many as there is room for."""
    free = -1.0
    for x, step in ticks:
        words = f"{step:,}"
        width = text_width(words, 11)
        if left + x - width / 2 > free and left + x + width / 2 < canvas.image.width - 4:
            canvas.line([(left + x, bottom), (left + x, bottom + 5)], INK)
            canvas.text(left + x, bottom + 14, words, 11, FAINT, "mm")
            free = left + x + width / 2 + 14
    words = "training steps of all stages; lines between stages: the student, rounds of pruning by their numbers, recoveries"
    canvas.text(left, bottom + 38, words, 12)
    canvas.text(left, bottom + 58, "blue: universal blocks, shared by all tasks; orange: proxies, this task's own", 12)


def search(task: str, tried: Sequence[Mark], levels: dict[str, float]) -> Image:
    """Every network that was tried: accuracy on validation against its MACs.

    Args:
        tried: a "dot" for the student and for every round, a "ring" for a recovery, a "star" for what was chosen.
        levels: accuracies to draw by their names.
    """
    kinds = {mark.kind for mark in tried}
    legend = {kind: words for kind, words in SEARCH_LEGEND.items() if kind in kinds}
    chart = Chart(f"{task}: the search", list(tried), levels, legend, "accuracy on validation", joined=False)
    return draw_chart(chart)


def search_of(report: Report, fixed: int) -> Image | None:
    """The search of a finished run; None where nothing was pruned.

    Args:
        fixed: MACs of stem and head; what a report says of networks on the way is of their paths alone.
    """
    prune, whole, net = report.prune, report.backbone.macs, report.compact
    if prune is None or not prune.trials:
        return None
    tried = [Mark((entry["macs"] + fixed) / whole, entry["val_accuracy"]) for entry in prune.trials]
    if report.student is not None and report.student.macs:
        tried.insert(0, Mark(report.student.macs / whole, report.student.val_accuracy, label="student"))
    tried += [Mark((entry["macs"] + fixed) / whole, entry["after"], "ring") for entry in prune.recovered]
    tried.append(Mark(net.macs / whole, net.val_accuracy, "star"))
    levels = {}
    if report.teacher is not None:
        accuracy = report.teacher.val_accuracy
        levels = {"teacher": accuracy, f"{prune.drop_allowed:g} points less": accuracy - prune.drop_allowed / 100}
    return search(report.task, tried, levels)


def front(curve: Front) -> Image:
    """Test accuracy against MACs of every network on the way down."""
    dots = [Mark(point.macs / curve.backbone_macs, point.test_accuracy) for point in curve.points]
    stars = [
        Mark(point.macs / curve.backbone_macs, point.test_accuracy, "star") for point in curve.points if point.chosen
    ]
    legend = {"dot": "networks on the way down", "star": "chosen, recovered"}
    levels = {"teacher": curve.teacher_test_accuracy}
    title = f"{curve.task} over {curve.backbone}: the front"
    return draw_chart(Chart(title, dots + stars, levels, legend, "accuracy on test"))


def confusion_matrix(confusion: Confusion) -> Image:
    """Rows are classes, columns what they were taken for; colours are parts of a row, numbers are pictures."""
    classes, count = confusion.classes, len(confusion.classes)
    cell = int(np.clip(900 // count, 3, 34))
    named = count <= MOST_NAMED
    size = int(np.clip(cell - 2, 7, 13))
    labels = [shortened(name, size, 150) for name in classes] if named else []
    margin = round(max((text_width(label, size) for label in labels), default=0)) + 44
    title = f"{confusion.task}: compact net on test"
    side = cell * count
    canvas = Canvas(max(margin + side + 20, round(text_width(title, 15)) + 30), 64 + side + margin)
    canvas.text(12, 18, title, 15)
    canvas.text(margin, 44, "colour: part of the class's pictures; numbers: pictures", 11, FAINT)
    counts = np.asarray(confusion.counts, dtype=np.float64)
    parts = counts / np.maximum(1, counts.sum(1, keepdims=True))
    top = 58
    canvas.paste(coloured(parts, BLUES).repeat(cell, 0).repeat(cell, 1), margin, top)
    canvas.rectangle((margin - 1, top - 1, margin + side, top + side), None, RULE)
    if count <= MOST_COUNTED:
        _counts(canvas, counts, parts, margin, top, cell)
    for place, label in enumerate(labels):
        middle = (place + 0.5) * cell
        canvas.text(margin - 8, top + middle, label, size, INK, "rm")
        canvas.text(margin + middle, top + side + 8, label, size, INK, "rm", up=True)
    canvas.text(14, top + side / 2, "class", 12, FAINT, "mm", up=True)
    canvas.text(margin + side / 2, canvas.image.height - 14, "taken for", 12, FAINT, "mm")
    return canvas.image


def _counts(
    canvas: Canvas, counts: NDArray[np.float64], parts: NDArray[np.float64], left: int, top: int, cell: int
) -> None:
    for row, column in zip(*np.nonzero(counts), strict=True):
        colour = WHITE if parts[row, column] > 0.5 else INK
        x, y = left + (column + 0.5) * cell, top + (row + 0.5) * cell
        canvas.text(x, y, f"{counts[row, column]:.0f}", int(np.clip(cell * 0.42, 7, 13)), colour, "mm")
