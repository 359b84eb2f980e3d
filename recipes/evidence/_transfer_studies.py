"""The studies of the factors of fine-tuning that stand on docs/evidence.md: published, and what their lines show.

OUT/studies/NAME (`nettailor study docs/evidence/studies/NAME.yaml`) -> docs/evidence/studies/NAME -> a paragraph of the page
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from statistics import mean
from typing import Any

from nettailor.files import copy_file
from recipes.evidence._board_statistics import rank_correlation
from recipes.evidence._transfer_claims import NOT_RUN, NOT_SHOWN

PAIRS, SOURCES = "pairs", "sources"
LINES, REPORT = "cells.jsonl", "report.md"
PUBLISHED = (
    LINES,
    REPORT,
    "study.yaml",
    "*.png",
    "cells/*/report.json",
    "cells/*/layers.json",
    "distances/*/distance.json",
    "sources/*/source.json",
)
MEASURED: dict[str, tuple[str, str, Callable[[dict[str, Any]], tuple[Any, float, float] | None]]] = {
    PAIRS: (
        "the farther a target is from the source, the more fine-tuning gains over a linear probe",
        "pairs",
        lambda line: (
            None
            if line["distance"] is None or line["over_probe"] is None
            else (line["factors"]["pair"], line["distance"]["proxy_a"], line["over_probe"])
        ),
    ),
    SOURCES: (
        "the more source categories at a fixed total of pictures, the more accurate",
        "numbers of categories",
        lambda line: (
            None
            if (count := line["factors"].get("source_classes")) is None
            else (count, count, 100 * line["test_accuracy"])
        ),
    ),
}
"""What is looked for in each study, what it is over, and from a line: place, factor and figure; None where it has none."""


def publish_studies(out: Path, docs: Path) -> None:
    """Copy what finished studies have written; their runs stay where they are."""
    for name in MEASURED:
        folder = out / "studies" / name
        if (folder / REPORT).is_file():  # it is written last
            for pattern in PUBLISHED:
                for file in sorted(folder.glob(pattern)):
                    copy_file(file, docs / "studies" / name / file.relative_to(folder))


def study_lines(docs: Path) -> list[str]:
    """What the published studies show, a line of Markdown each."""
    return [_study(name, docs / "studies" / name) for name in MEASURED]


def change_lines(docs: Path) -> list[str]:
    """How much fine-tuning changed the stem, the middle block and the last one, for each target: a table of the pairs."""
    file = docs / "studies" / PAIRS / LINES
    if not file.is_file():
        return []
    lines = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    places: dict[str, list[list[dict[str, Any]]]] = {}
    for line in lines:
        if not line["baseline"]:
            places.setdefault(line["factors"]["pair"], []).append(line["layers"])
    depth = max(
        layer["layer"] for layers in places.values() for run in layers for layer in run if layer["cka"] is not None
    )
    shown = (0, depth // 2, depth)
    heads = [what for layer in shown for what in (f"x_{layer}: change", "CKA")]
    found = ["", "| fine-tuned on | " + " | ".join(heads) + " |", "|---|" + "--:|" * len(heads)]
    for pair, runs in places.items():
        cells = [
            f"{mean(layer[key] for run in runs for layer in run if layer['layer'] == number):.2f}"
            for number in shown
            for key in ("weights", "cka")
        ]
        found.append(f"| {pair} | {' | '.join(cells)} |")
    return [
        *found,
        "",
        "Change by depth in the study of pairs, means over its seeds: change is |W - W0| / |W0| of a layer's parameters, CKA "
        "compares its activations before and after (1: alike). All layers are drawn in "
        f"[change_by_depth.png](evidence/studies/{PAIRS}/change_by_depth.png).",
    ]


def _study(name: str, folder: Path) -> str:
    text, over, read = MEASURED[name]
    file = f"[{name}.yaml](evidence/studies/{name}.yaml)"
    if not (folder / REPORT).is_file():
        return f"* **{NOT_RUN}**: {text} ({file})"
    lines = [json.loads(line) for line in (folder / LINES).read_text(encoding="utf-8").splitlines()]
    places: dict[Any, list[tuple[float, float]]] = {}
    for found in (read(line) for line in lines if not line["baseline"]):
        if found is not None:
            places.setdefault(found[0], []).append(found[1:])
    xs, ys = ([mean(pair[side] for pair in pairs) for pairs in places.values()] for side in (0, 1))
    report = f"[report](evidence/studies/{name}/{REPORT}), {file}"
    correlation = rank_correlation(xs, ys)
    if correlation is None:
        return f"* **{NOT_SHOWN}**: {text}: too few {over}; {report}"
    few = f" ({correlation.n} can't show it: even in perfect order p = {correlation.least_p:.2f})"
    shown = correlation.p < 0.05
    word = f"shown: {'above' if correlation.rho > 0 else 'below'}" if shown else f"**{NOT_SHOWN}**"
    return (
        f"* {word}: {text}: Spearman's rank correlation {correlation.rho:+.2f} over {correlation.n} {over}, permutation p = "
        f"{correlation.p:.2f}{few if correlation.least_p >= 0.05 else ''}; {report}"
    )
