"""Pictures of curves, by matplotlib, which is an extra: only the board and the front draw any."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from nettailor.errors import UsageProblem
from nettailor.files import write_atomic


@dataclass(frozen=True)
class Curve:
    """Points of one method. `style` is matplotlib's: "o-" joins them, "*" does not. `spread` is drawn as error bars."""

    label: str
    x: list[float]
    y: list[float]
    style: str = "o"
    spread: list[float] | None = None


def need_matplotlib() -> None:
    """Called before any work whose result is a picture.

    Raises:
        UsageProblem: matplotlib is not installed.
    """
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        raise UsageProblem("drawing needs matplotlib; install it with: pip install 'nettailor[plots]'") from None


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

    figure = Figure(figsize=(7, 4.5), dpi=130, layout="constrained")
    axes = figure.add_subplot()
    for label, level in levels.items():
        axes.axhline(level, color="gray", linestyle=":", label=label)
    for curve in curves:
        axes.errorbar(curve.x, curve.y, curve.spread, fmt=curve.style, label=curve.label, capsize=3, markersize=6)
    axes.set(title=title, xlabel="MACs, as a part of the backbone's", ylabel=label)
    axes.set_xlim(left=0)
    axes.grid(alpha=0.3)
    axes.legend(fontsize="small")
    write_atomic(path, lambda temporary: figure.savefig(temporary, format="png"))
