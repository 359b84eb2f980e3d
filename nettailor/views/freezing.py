"""The freezing curve as a table, and as a picture by matplotlib, which is an extra."""

from __future__ import annotations

from pathlib import Path

from rich.markup import escape
from rich.table import Table

from nettailor.artifacts.freezing import Freezing
from nettailor.files import write_atomic
from nettailor.views.plots import need_matplotlib


def freezing_table(freezing: Freezing) -> Table:
    """One row per first trained layer."""
    title = f"{freezing.task} over {freezing.backbone}, {freezing.method}: what is trained, from a layer up"
    table = Table(title=title, title_justify="left", caption_justify="left")
    for heading in ("first trained", "validation", "test accuracy", "task params", "passes", "seconds"):
        table.add_column(heading, justify="left" if heading == "first trained" else "right")
    for point in freezing.points:
        mark = " *" if point.tune_from == freezing.chosen else ""
        table.add_row(
            escape(point.tune_from) + mark,
            f"{point.val_accuracy:.2%}",
            f"{point.test_accuracy:.2%}",
            f"{point.task_params:,}",
            f"{point.epochs:.0f}",
            f"{point.seconds:.0f}",
        )
    table.caption = "* the best on the validation split, by which it is chosen"
    return table


def draw_freezing(freezing: Freezing, path: Path) -> None:
    """Accuracy against the first trained layer, as a PNG."""
    need_matplotlib()
    from matplotlib.figure import Figure

    points, places = freezing.points, range(len(freezing.points))
    figure = Figure(figsize=(max(5.0, 2.5 + 0.35 * len(points)), 4.5), dpi=130, layout="constrained")
    axes = figure.add_subplot()
    axes.plot(places, [point.val_accuracy for point in points], "o-", label="validation")
    axes.plot(places, [point.test_accuracy for point in points], "s--", label="test")
    chosen = [point.tune_from for point in points].index(freezing.chosen)
    axes.plot([chosen], [points[chosen].val_accuracy], "*", markersize=14, label="chosen, on validation")
    axes.set_xticks(places, [point.tune_from for point in points], rotation=90, fontsize="small")
    axes.set(
        title=f"{freezing.task} over {freezing.backbone}, {freezing.method}",
        xlabel="first trained layer: fewer frozen to the right",
        ylabel="accuracy",
    )
    axes.grid(alpha=0.3)
    axes.legend(fontsize="small")
    write_atomic(path, lambda temporary: figure.savefig(temporary, format="png"))
