"""The model card of a delta: the figures, and how to use it."""

from __future__ import annotations

from nettailor.artifacts.report import Report


def model_card(report: Report, classes: list[str]) -> str:
    """Markdown for `task/README.md`."""
    teacher, net, removed = report.teacher, report.compact, report.removed
    shown = ", ".join(classes[:12]) + (f" and {len(classes) - 12} more" if len(classes) > 12 else "")
    return f"""# {report.task}

A nettailor delta over the backbone `{report.backbone.name}` (sha256 `{report.backbone.sha256[:16]}...`).
{len(classes)} classes: {shown}.

| | teacher | compact net |
|---|---|---|
| test accuracy | {teacher.test_accuracy:.4f} | {net.test_accuracy:.4f} |
| M MACs | {teacher.macs / 1e6:.2f} | {net.macs / 1e6:.2f} ({removed.macs:.0%} of the backbone's gone) |
| parameters | {teacher.params:,} | {net.params:,} |
| of these this task's own | {teacher.params:,} | {net.task_params:,} |
| universal blocks | {report.backbone.universal_blocks} | {net.universal_blocks_kept} (and {net.proxies_kept} proxies) |

Measured on {report.data.test} test pictures; trained on {report.data.train}, chosen by {report.data.val}; seed {report.seed}.

```
nettailor predict . picture.png
```

```python
import nettailor as nt
delta = nt.load(".")
print(delta.net, delta.classes)
```
"""
