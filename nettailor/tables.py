"""Tables that end a job: one task's teacher against its compact net, and many tasks side by side."""

from __future__ import annotations

from pathlib import Path

from rich.table import Table

from nettailor.report import Report


def report_table(report: Report) -> Table:
    """Teacher against compact net."""
    teacher, net = report.teacher, report.compact
    table = Table(title=f"{report.task} over {report.backbone.name}", title_justify="left", caption_justify="left")
    for heading in ("", "teacher", "compact", "difference"):
        table.add_column(heading, justify="left" if not heading else "right")
    points = 100 * (net.test_accuracy - teacher.test_accuracy)
    own = net.task_params / report.backbone.params
    table.add_row("test accuracy", f"{teacher.test_accuracy:.2%}", f"{net.test_accuracy:.2%}", f"{points:+.2f} points")
    table.add_row("M MACs", f"{teacher.macs / 1e6:.2f}", f"{net.macs / 1e6:.2f}", _less(net.macs, teacher.macs))
    table.add_row("parameters", f"{teacher.params:,}", f"{net.params:,}", _less(net.params, teacher.params))
    table.add_row("task parameters", f"{teacher.params:,}", f"{net.task_params:,}", f"{own:.1%} of the backbone's")
    table.add_row(
        "ms per picture",
        f"{teacher.latency_ms:.2f}",
        f"{net.latency_ms:.2f}",
        _less(net.latency_ms, teacher.latency_ms),
    )
    blocks = report.backbone.universal_blocks
    table.add_row("universal blocks", f"{blocks}", f"{net.universal_blocks_kept}", f"and {net.proxies_kept} proxies")
    if not report.prune.within_drop:
        table.caption = f"none was found within {report.prune.drop_allowed} points of the teacher"
    return table


def files_text(report: Report, out: Path) -> str:
    """Where the results are, a line each."""
    kib = report.compact.task_bytes / 1024
    return (
        f"delta    {out / 'task'}  ({kib:.0f} KiB beside the backbone)\n"
        f"figures  {out / 'report.json'}\n"
        f"next     nettailor show {out}    nettailor predict {out} PICTURE...    tensorboard --logdir {out}"
    )


def summary_table(reports: list[Report], failed: dict[str, str]) -> Table:
    """One row per task."""
    table = Table(title="tasks over one backbone", title_justify="left")
    headings = ("task", "classes", "teacher", "compact", "points", "MACs left", "task params", "blocks", "proxies")
    for heading in headings:
        table.add_column(heading, justify="left" if heading == "task" else "right")
    for report in reports:
        net, teacher = report.compact, report.teacher
        table.add_row(
            report.task,
            str(report.data.classes),
            f"{teacher.test_accuracy:.2%}",
            f"{net.test_accuracy:.2%}",
            f"{100 * (net.test_accuracy - teacher.test_accuracy):+.2f}",
            f"{1 - report.removed.macs:.0%}",
            f"{net.task_params / report.backbone.params:.1%}",
            f"{net.universal_blocks_kept}/{report.backbone.universal_blocks}",
            str(net.proxies_kept),
        )
    for name in failed:
        table.add_row(name, *["failed"] + [""] * (len(headings) - 2))
    return table


def _less(now: float, before: float) -> str:
    return f"{100 * (now / before - 1):+.0f} %"
