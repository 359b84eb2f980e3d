"""Pictures of curves and of confusion matrices, by matplotlib, which is an extra."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nettailor.artifacts.confusion import Confusion
from nettailor.artifacts.pareto import Front
from nettailor.errors import UsageError
from nettailor.files import write_atomic

MOST_NAMED = 50  # classes whose names and counts can be read on a picture


@dataclass(frozen=True)
class Curve:
    """Points of one method.

    Attributes:
        label: in the legend; one that begins with "_" is left out there.
        style: matplotlib's: "o-" joins them, "*" does not.
        spread, spread_x: error bars.
        color: matplotlib's; the next of its cycle if left out.
    """

    label: str
    x: list[float]
    y: list[float]
    style: str = "o"
    spread: list[float] | None = None
    spread_x: list[float] | None = None
    color: str | None = None


def has_matplotlib() -> bool:
    """Whether pictures can be drawn."""
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        return False
    return True


def need_matplotlib() -> None:
    """Called before any work whose result is a picture.

    Raises:
        UsageError: matplotlib is not installed.
    """
    if not has_matplotlib():
        raise UsageError("drawing needs matplotlib; install it with: pip install 'nettailor[plots]'")


def draw_curves(
    path: Path, title: str, curves: list[Curve], levels: dict[str, float], label: str = "accuracy on test"
) -> None:
    """Accuracy against the part of the backbone's MACs.

    Args:
        levels: horizontal lines by their labels.
        label: of the y axis.
    """
    need_matplotlib()
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8.5, 4.5), dpi=130, layout="constrained")
    axes = figure.add_subplot()
    for name, level in levels.items():
        axes.axhline(level, color="gray", linestyle=":", label=name)
    for curve in curves:
        looks: dict[str, Any] = {
            "fmt": curve.style,
            "color": curve.color,
            "label": curve.label,
            "capsize": 3,
            "markersize": 6,
        }
        axes.errorbar(curve.x, curve.y, curve.spread, curve.spread_x, **looks)
    axes.set(title=title, xlabel="MACs, as a part of the backbone's", ylabel=label)
    axes.set_xlim(left=0)
    axes.grid(alpha=0.3)
    figure.legend(loc="outside right upper", fontsize="small")  # beside the points, not over them
    write_atomic(path, lambda temporary: figure.savefig(temporary, format="png"))


def draw_front(front: Front, path: Path) -> None:
    """Test accuracy against the part of the backbone's MACs, as a PNG."""
    xs = [point.macs / front.backbone_macs for point in front.points]
    curve = Curve("networks on the way down", xs, [point.test_accuracy for point in front.points], "o-")
    chosen = [(x, point.test_accuracy) for x, point in zip(xs, front.points, strict=True) if point.chosen]
    marked = Curve("chosen, recovered", [x for x, _ in chosen], [y for _, y in chosen], "*")
    draw_curves(path, f"{front.task} over {front.backbone}", [curve, marked], {"teacher": front.teacher_test_accuracy})


def draw_confusion(confusion: Confusion, path: Path) -> None:
    """A confusion matrix as a PNG: each row's colours are parts of its class's pictures, the numbers are pictures."""
    need_matplotlib()
    from matplotlib.figure import Figure

    classes, count = confusion.classes, len(confusion.classes)
    parts = [[value / max(1, sum(row)) for value in row] for row in confusion.counts]
    side = min(16.0, 3.5 + 0.3 * count)
    figure = Figure(figsize=(side, side), dpi=130, layout="constrained")
    axes = figure.add_subplot()
    axes.imshow(parts, cmap="Blues", vmin=0, vmax=1)
    if count <= MOST_NAMED:
        axes.set_xticks(range(count), classes, rotation=90, fontsize="small")
        axes.set_yticks(range(count), classes, fontsize="small")
        for place, (row, shares) in enumerate(zip(confusion.counts, parts, strict=True)):
            for column, value in enumerate(row):
                if value:
                    color = "white" if shares[column] > 0.5 else "black"
                    axes.text(column, place, str(value), ha="center", va="center", color=color, fontsize="x-small")
    axes.set(title=f"{confusion.task}: compact net on test", xlabel="taken for", ylabel="class")
    write_atomic(path, lambda temporary: figure.savefig(temporary, format="png"))
