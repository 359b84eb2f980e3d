"""Pictures of a study: accuracy by each factor, how layers changed by depth, and what was gained by distance.

CellFigures ... -> draw_study -> accuracy_by_FACTOR.png, change_by_depth.png, gain_by_distance.png
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from nettailor.artifacts.study import CellFigures, Value
from nettailor.files import write_atomic
from nettailor.training.layer_change import LayerChange
from nettailor.views.plots import need_matplotlib
from nettailor.views.study_tables import METHOD, SEED, Group, groups, levels, varying

MOST_LINES = 8  # on one picture; of more, only means are drawn
ON = "on"
CALLED_BY = ("pair", "source_classes", "source_pictures")
"""Factors that say which source and target a cell is of."""
LOG_FROM = 8.0  # largest value over the smallest, from which an axis is logarithmic

PANELS: tuple[tuple[str, Callable[[LayerChange], float | None]], ...] = (
    ("|W - W0| / |W0|", lambda change: change.weights),
    ("cosine of W and W0", lambda change: change.cosine),
    ("CKA before and after", lambda change: change.cka),
    ("zeros after", lambda change: change.zeros_after),
)


def draw_study(cells: Sequence[CellFigures], axes: Sequence[str], folder: Path) -> list[Path]:
    """Draw what the cells show; returns the files.

    Raises:
        UsageError: matplotlib is not installed.
    """
    made = [draw_factor(cells, axes, name, folder) for name in factors_drawn(cells, axes)]
    if any(cell.layers for cell in cells):
        made.append(draw_depth(cells, axes, folder / "change_by_depth.png"))
    if has_gains(cells):
        made.append(draw_distance(cells, folder / "gain_by_distance.png"))
    return made


def factors_drawn(cells: Sequence[CellFigures], axes: Sequence[str]) -> list[str]:
    """The factors that accuracy is drawn by: those with several values, the method among them, seeds aside."""
    methods = {cell.factors.get(METHOD) for cell in cells if not cell.baseline}
    return [*varying(cells, axes), *([METHOD] if METHOD in axes and len(methods) > 1 else [])]


def has_gains(cells: Sequence[CellFigures]) -> bool:
    """Whether a gain can be drawn against a distance."""
    own = [cell for cell in cells if cell.distance is not None and not cell.baseline]
    return any((cell.over_probe, cell.over_scratch) != (None, None) for cell in own)


def picture_of(factor: str) -> str:
    """Name of the file that shows accuracy by a factor."""
    return "accuracy_by_" + re.sub(r"[^\w-]+", "_", factor) + ".png"


def draw_factor(cells: Sequence[CellFigures], axes: Sequence[str], factor: str, folder: Path) -> Path:
    """Accuracy by one factor: a line for each choice of the others, or for each method where these are too many."""
    path = folder / picture_of(factor)
    series, level = _series(cells, axes, factor)
    figure, plot = _figure()
    values = [group.factors[factor] for group in levels(cells, factor)]
    places = _places(plot, values)
    for name, members in series.items():
        found = [group for group in levels(members, factor) if group.factors[factor] in values]
        test = [group.figure(lambda cell: cell.test_accuracy) for group in found]
        xs = [places[group.factors[factor]] for group in found]
        means, spreads = [f.mean for f in test if f is not None], [f.std for f in test if f is not None]
        plot.errorbar(xs, means, spreads, fmt="o-", capsize=3, label=name)
    for name, height in level.items():
        plot.axhline(height, color="gray", linestyle=":" if name == "linear" else "--", label=f"{name} (baseline)")
    plot.set(title=f"{cells[0].study}: accuracy by {factor}", xlabel=factor, ylabel="accuracy on test")
    _finish(figure, plot, path)
    return path


def _series(
    cells: Sequence[CellFigures], axes: Sequence[str], factor: str
) -> tuple[dict[str, list[CellFigures]], dict[str, float]]:
    """Cells of each line by its label, and the mean accuracy of each baseline."""
    own = [cell for cell in cells if not cell.baseline and cell.factors.get(factor) is not None]
    others = [name for name in axes if name not in (factor, SEED)]
    found: dict[str, list[CellFigures]] = {}
    for group in groups(own, others):
        factors = {name: value for name, value in group.factors.items() if name != factor}
        found.setdefault(Group(factors, []).label or "all", []).extend(group.cells)
    if len(found) > MOST_LINES:
        found = {}
        for cell in own:
            found.setdefault("all cells" if factor == METHOD else f"{cell.method}, mean of all", []).append(cell)
    levels_of: dict[str, list[float]] = {}
    for cell in cells:
        if cell.baseline:
            levels_of.setdefault(cell.method, []).append(cell.test_accuracy)
    return found, {method: sum(values) / len(values) for method, values in levels_of.items()}


def draw_depth(cells: Sequence[CellFigures], axes: Sequence[str], path: Path) -> Path:
    """Change by layer, from the stem (0) up: a line for each choice, or for each value of the first factor."""
    shown = depth_groups(cells, axes)
    need_matplotlib()
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    figure = Figure(figsize=(11, 7.5), dpi=130, layout="constrained")
    for place, (title, read) in enumerate(PANELS):
        plot = figure.add_subplot(2, 2, place + 1)
        for number, group in enumerate(shown):
            found = [(change.layer, value) for change in group.layers() if (value := read(change)) is not None]
            looks: dict[str, Any] = {"ms": 3, "color": f"C{number % 10}", "label": group.label if place == 0 else "_"}
            plot.plot([layer for layer, _ in found], [value for _, value in found], "o-", **looks)
        if title.startswith("zeros") and shown:
            before = [(c.layer, c.zeros_before) for c in shown[0].layers() if c.zeros_before is not None]
            plot.plot([layer for layer, _ in before], [value for _, value in before], "k:", label="before")
        plot.set(title=title, xlabel="layer")
        plot.xaxis.set_major_locator(MaxNLocator(integer=True))
        plot.grid(alpha=0.3)
    figure.suptitle(f"{cells[0].study}: change by depth, mean over cells")
    if any(group.label for group in shown):
        figure.legend(loc="outside right upper", fontsize="small")
    write_atomic(path, lambda temporary: figure.savefig(temporary, format="png"))
    return path


def depth_groups(cells: Sequence[CellFigures], axes: Sequence[str]) -> list[Group]:
    """The groups whose layers are shown: every choice, or the values of the first factor where these are too many."""
    tuned = [cell for cell in cells if cell.layers and not cell.baseline]
    found = groups(tuned, axes)
    names = varying(tuned, axes)
    if len(found) > MOST_LINES and names:
        found = levels(tuned, names[0])
    return found


def draw_distance(cells: Sequence[CellFigures], path: Path) -> Path:
    """Points over the probe and over training from scratch, against both distances, a point for each pair and method."""
    need_matplotlib()
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 7.5), dpi=130, layout="constrained")
    distances: tuple[tuple[str, Callable[[CellFigures], float]], ...] = (
        ("proxy-A distance", lambda cell: cell.distance.proxy_a if cell.distance else 0.0),
        ("unbiased MMD²", lambda cell: cell.distance.mmd2 if cell.distance else 0.0),
    )
    gains: tuple[tuple[str, Callable[[CellFigures], float | None]], ...] = (
        ("points over the probe", lambda cell: cell.over_probe),
        ("points over scratch", lambda cell: cell.over_scratch),
    )
    own = [cell for cell in cells if not cell.baseline]
    colors = {method: f"C{number % 10}" for number, method in enumerate(dict.fromkeys(cell.method for cell in own))}
    for row, (gain_name, gain) in enumerate(gains):
        for column, (name, distance) in enumerate(distances):
            plot = figure.add_subplot(2, 2, 2 * row + column + 1)
            for group in _by_pair(own, gain):
                figures, method = (group.figure(gain), group.figure(distance)), str(group.factors[METHOD])
                if figures[0] is not None and figures[1] is not None:
                    x, y = figures[1].mean, figures[0].mean
                    plot.errorbar(x, y, figures[0].std, fmt="o", capsize=3, color=colors[method])
                    plot.annotate(
                        str(group.factors[ON]), (x, y), (4, 4), textcoords="offset points", fontsize="x-small"
                    )
            plot.axhline(0, color="gray", linewidth=0.8)
            plot.set(xlabel=name, ylabel=gain_name)
            plot.grid(alpha=0.3)
    for method, color in colors.items():
        plot.plot([], [], "o", color=color, label=method)
    figure.legend(loc="outside right upper", fontsize="small")
    figure.suptitle(f"{cells[0].study}: gain by distance of source and target, mean and deviation over cells")
    write_atomic(path, lambda temporary: figure.savefig(temporary, format="png"))
    return path


def _by_pair(cells: Sequence[CellFigures], gain: Callable[[CellFigures], float | None]) -> list[Group]:
    """Cells of one distance and method that have a gain, by the pair, the source's classes, or the task."""
    made: dict[tuple[Any, ...], Group] = {}
    for cell in cells:
        if cell.distance is not None and gain(cell) is not None:
            named = [str(value) for name in CALLED_BY if (value := cell.factors.get(name)) is not None]
            about = ", ".join(named) or cell.task
            key = cell.method, about, cell.distance.proxy_a, cell.distance.mmd2
            made.setdefault(key, Group({METHOD: cell.method, ON: about}, [])).cells.append(cell)
    return list(made.values())


def _figure() -> tuple[Any, Any]:
    need_matplotlib()
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8.5, 4.5), dpi=130, layout="constrained")
    return figure, figure.add_subplot()


def _places(plot: Any, values: Sequence[Value]) -> dict[Value, float]:
    """Where a factor's values stand on an axis: numbers at their place, on a log scale where they range far."""
    numbers = [float(value) for value in values if isinstance(value, int | float) and not isinstance(value, bool)]
    if len(numbers) == len(values) and numbers:
        if min(numbers) > 0 and max(numbers) / min(numbers) >= LOG_FROM:
            plot.set_xscale("log")
            plot.minorticks_off()
        plot.set_xticks(numbers, [f"{number:g}" for number in numbers])
        return dict(zip(values, numbers, strict=True))
    plot.set_xticks(range(len(values)), [str(value) for value in values])
    return {value: float(place) for place, value in enumerate(values)}


def _finish(figure: Any, plot: Any, path: Path) -> None:
    plot.grid(alpha=0.3)
    figure.legend(loc="outside right upper", fontsize="small")
    write_atomic(path, lambda temporary: figure.savefig(temporary, format="png"))
