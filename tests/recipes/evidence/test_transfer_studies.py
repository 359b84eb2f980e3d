"""The studies that stand on docs/evidence.md: what is published of them, and what the page says that they show."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from recipes.evidence._transfer_cells import Cell
from recipes.evidence._transfer_claims import Group
from recipes.evidence._transfer_figures import Runs
from recipes.evidence._transfer_page import page
from recipes.evidence._transfer_studies import publish_studies, study_lines

OURS = Cell("ours", "finetune")


def study_line(factors: dict[str, Any], test: float, gained: float | None = None, baseline: bool = False) -> str:
    distance = {"proxy_a": factors["far"]} if "far" in factors else None
    layers = [{"layer": layer, "weights": test * layer, "cka": 1 - layer / 10} for layer in range(5)]
    layers.append({"layer": 5, "weights": 9.0, "cka": None})  # a head's
    line = {"factors": factors, "baseline": baseline, "test_accuracy": test, "over_probe": gained, "distance": distance}
    return json.dumps({**line, "layers": layers}) + "\n"


def test_studies_are_published_and_the_page_says_what_they_show(tmp_path: Path) -> None:
    out, docs = tmp_path / "runs", tmp_path / "docs"
    (out / "studies" / "pairs" / "cells" / "one" / "nets").mkdir(parents=True)
    (out / "studies" / "pairs" / "cells" / "one" / "report.json").write_text("raw")
    lines = [
        study_line({"pair": str(n), "far": n / 10 + seed / 100}, 0.5, 10.0 - n)
        for n in range(6)
        for seed in (0, 1)  # as little as two seeds of one pair are they two pairs
    ]
    lines.append(study_line({"pair": "0", "far": 0.0}, 0.5, 0.0, baseline=True))
    (out / "studies" / "pairs" / "cells.jsonl").write_text("".join(lines))
    publish_studies(out, docs)
    assert not docs.exists(), "there are lines while a study runs, and the report at its end"
    (out / "studies" / "pairs" / "report.md").write_text("a report")
    publish_studies(out, docs)
    published = docs / "studies" / "pairs"
    assert {path.name for path in published.iterdir()} == {"cells.jsonl", "report.md", "cells"}
    assert {path.relative_to(published).as_posix() for path in published.rglob("cells/*/*")} == {
        "cells/one/report.json"
    }
    pairs, sources = study_lines(docs)
    assert pairs.startswith("* shown: below: the farther")
    assert "correlation -1.00 over 6 pairs, permutation p = 0.00;" in pairs
    assert sources.startswith("* **not run**: ")
    (out / "studies" / "sources").mkdir()
    few = [study_line({"source_classes": count}, count / 1000) for count in (25, 50, 100, 200)]
    (out / "studies" / "sources" / "cells.jsonl").write_text("".join(few))
    (out / "studies" / "sources" / "report.md").write_text("a report")
    publish_studies(out, docs)
    _, sources = study_lines(docs)
    assert sources.startswith("* **not shown**: the more source categories")
    assert "correlation +1.00 over 4 numbers of categories, permutation p = 0.08 (4 can't show it" in sources
    group = Group("Factors", "", "", [OURS], studies=True)
    said = page({"factors": group}, Runs(docs))
    assert pairs in said
    assert "| fine-tuned on | x_0: change | CKA | x_2: change | CKA | x_4: change | CKA |" in said
    assert "| 3 | 0.00 | 1.00 | 1.00 | 0.80 | 2.00 | 0.60 |" in said
