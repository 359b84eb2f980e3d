"""Publish finished runs: their reports, and what the page reads beside them.

OUT/DATA/CELL/seed-0/report.json -> docs/evidence/DATA/CELL/seed-0/report.json
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from nettailor.config.loading import plain
from nettailor.files import copy_file
from nettailor.jobs.recipe import Recipe
from recipes.evidence._transfer_cells import Cell, Made, Pictures
from recipes.evidence._transfer_claims import Group
from recipes.evidence._transfer_figures import REPORT, Runs
from recipes.evidence._transfer_rates import all_rate_cells, chosen_rates


def publish(groups: Iterable[Group], out: Path, docs: Path, epochs: int) -> list[str]:
    """Copy what is finished; a run that is not what its cell says now is left out, with a line that says so.

    Args:
        epochs: passes of every fine-tuning.
    """
    runs, rates = Runs(out), chosen_rates(out, docs)
    wanted: dict[str, tuple[Cell, set[str]]] = {}
    for cell in all_rate_cells():
        wanted[cell.key] = cell, {REPORT}
    for group in groups:
        if group.record and (out / group.record).is_file():
            copy_file(out / group.record, docs / group.record)
        for cell in group.cells:
            files = wanted.setdefault(cell.key, (cell, {REPORT}))[1]
            files |= group.files()
    problems = []
    for cell, files in wanted.values():
        for seed in runs.seeds(cell):
            folder, target = cell.folder(out, seed), cell.folder(docs, seed)
            if changed := differs(cell, Recipe.read(folder.recipe), rates, epochs):
                problems.append(f"{folder.root}: not published: {', '.join(changed)} is not what the table says")
                continue
            for file in sorted(files):
                if (folder.root / file).is_file():
                    copy_file(folder.root / file, target.root / file)
    return problems


def differs(cell: Cell, recipe: Recipe, rates: Mapping[str, float], epochs: int) -> list[str]:
    """The settings of a cell that its run has otherwise; where files lie does not count."""
    tree = recipe.as_dict()
    return [
        name
        for name, value in cell.choices(rates, epochs).items()
        if not isinstance(value, Pictures | Made) and not _has(_at(tree, name), plain(value))
    ]


def _has(found: Any, wanted: Any) -> bool:
    """Whether a setting is what a cell wants; in a teacher's settings a recipe also has what was left at its default."""
    if isinstance(found, dict) and isinstance(wanted, dict):
        return all(name in found and _has(found[name], value) for name, value in wanted.items())
    return bool(found == wanted)


def _at(tree: Any, name: str) -> Any:
    for key in name.split("."):
        tree = tree.get(key) if isinstance(tree, dict) else None
    return tree
