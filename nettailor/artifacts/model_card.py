"""The model card of a delta: the figures, and how to use it."""

from __future__ import annotations

from nettailor.artifacts.report import Report


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
    """What the delta is, in two sentences."""
    backbone = report.backbone
    shown = ", ".join(classes[:12]) + (f" and {len(classes) - 12} more" if len(classes) > 12 else "")
    return (
        f"A nettailor delta over the backbone `{backbone.name}` (sha256 `{backbone.sha256[:16]}...`), "
        f"by the method `{report.method}`.\n{len(classes)} classes: {shown}."
    )


def measured_on(report: Report) -> str:
    """Which pictures the figures are of."""
    data = report.data
    return f"Measured on {data.test} test pictures; trained on {data.train}, chosen by {data.val}; seed {report.seed}."


def figures_table(report: Report) -> str:
    """Teacher and compact net side by side, as a table in Markdown."""
    teacher, net, removed, backbone = report.teacher, report.compact, report.removed, report.backbone
    macs = f"{net.macs / 1e6:.2f} ({removed.macs:.0%} of the backbone's gone)"
    blocks = f"{net.universal_blocks_kept} (and {net.proxies_kept} proxies)"
    rows = {
        "test accuracy": (teacher and f"{teacher.test_accuracy:.4f}", f"{net.test_accuracy:.4f}"),
        "M MACs": (teacher and f"{teacher.macs / 1e6:.2f}", macs),
        "parameters": (teacher and f"{teacher.params:,}", f"{net.params:,}"),
        "of these this task's own": (teacher and f"{teacher.params:,}", f"{net.task_params:,}"),
        "universal blocks": (teacher and f"{backbone.universal_blocks}", blocks),
    }
    columns = ("teacher", "compact net") if teacher else ("network",)
    lines = [f"| {' | '.join(['', *columns])} |", "|---" * (1 + len(columns)) + "|"]
    lines += [f"| {' | '.join([name, *(value for value in values if value)])} |" for name, values in rows.items()]
    return "\n".join(lines)
