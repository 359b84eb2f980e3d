"""The model card of a delta: the figures, and how to use it; what was exported from it, in a section of its own."""

from __future__ import annotations

from nettailor.artifacts.export_record import ExportedFile
from nettailor.artifacts.report import Report

EXPORTS, END_OF_EXPORTS = "<!-- exports: nettailor export writes this section anew -->", "<!-- end of exports -->"


def model_card(report: Report, classes: list[str]) -> str:
    """Markdown for `task/README.md`."""
    return f"""# {report.task}

{about(report, classes)}

{figures_table(report)}

{measured_on(report)}

```
nettailor predict . picture.png
```

```python
import nettailor as nt
delta = nt.load(".")
print(delta.net, delta.classes)
```
"""


def about(report: Report, classes: list[str]) -> str:
    """What the delta is, in some sentences."""
    backbone = report.backbone
    shown = ", ".join(classes[:12]) + (f" and {len(classes) - 12} more" if len(classes) > 12 else "")
    grown = "" if report.grown is None else f"\nIt was {report.grown.what}."
    return (
        f"A nettailor delta over the backbone `{backbone.name}` (sha256 `{backbone.sha256[:16]}...`), "
        f"by the method `{report.method}`.\n{len(classes)} classes: {shown}.{grown}"
    )


def measured_on(report: Report) -> str:
    """Which pictures the figures are of."""
    data = report.data
    return f"Measured on {data.test} test pictures; trained on {data.train}, chosen by {data.val}; seed {report.seed}."


def figures_table(report: Report) -> str:
    """Teacher and compact net side by side, as a table in Markdown."""
    teacher, net, removed, backbone = report.teacher, report.compact, report.removed, report.backbone
    change = (
        f"{removed.macs:.0%} of the backbone's gone"
        if removed.macs >= 0
        else f"{-removed.macs:.0%} more than the backbone's"
    )
    macs = f"{net.macs / 1e6:.2f} ({change})"
    blocks = f"{net.universal_blocks_kept} (and {net.proxies_kept} proxies)"
    rows = {
        "test accuracy": (teacher and f"{teacher.test_accuracy:.4f}", f"{net.test_accuracy:.4f}"),
        "M MACs": (teacher and f"{teacher.macs / 1e6:.2f}", macs),
        "parameters": (teacher and f"{teacher.params:,}", f"{net.params:,}"),
        "of these this task's own": (teacher and f"{teacher.own_params:,}", f"{net.task_params:,}"),
        "universal blocks": (teacher and f"{backbone.universal_blocks}", blocks),
    }
    columns = (teacher.called, "compact net") if teacher else ("network",)
    lines = [f"| {' | '.join(['', *columns])} |", "|---" * (1 + len(columns)) + "|"]
    lines += [f"| {' | '.join([name, *(value for value in values if value)])} |" for name, values in rows.items()]
    return "\n".join(lines)


def with_exports(card: str, files: list[ExportedFile]) -> str:
    """A card with what was exported in its last section; one that it had is replaced."""
    before, mark, rest = card.partition(EXPORTS)
    _, end, after = rest.partition(END_OF_EXPORTS)
    if mark and not end:
        after = ""
    head = "| file | format | bytes | ms | of the backbone's | largest difference | same class | accuracy |"
    rows = "\n".join(_export_row(file) for file in files)
    section = f"""{EXPORTS}
## Exported

{head}
{"|---" * 8}|
{rows}

Each was run in its own runtime before it was written. Milliseconds are medians of one picture, the backbone's own export in
the same runtime taken in turns; differences are those of logits from the compact net's.
{END_OF_EXPORTS}"""
    return f"{before.rstrip()}\n\n{section}\n{after.lstrip()}"


def _export_row(file: ExportedFile) -> str:
    parity, latency, int8 = file.parity, file.latency, file.int8
    largest = "" if parity.largest_difference is None else f"{parity.largest_difference:.1e}"
    kind = f"{file.to} ({file.runtime}), {file.precision}" + ("" if file.preprocessing else ", raw")
    accuracy = "" if int8 is None else f"{int8.test_accuracy:.4f} (float32 {int8.test_accuracy_float32:.4f})"
    cells = (
        f"`{file.file}`",
        kind,
        f"{file.bytes:,}",
        f"{latency.ms:.2f}",
        f"{latency.ratio:.2f}",
        largest,
        f"{parity.same_top1:.2%} of {parity.pictures}",
        accuracy,
    )
    return f"| {' | '.join(cells)} |"
