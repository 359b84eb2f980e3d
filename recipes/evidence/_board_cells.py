"""A board with the raw reports of its cells, from either place where they lie.

    boards/NAME/seed-0/METHOD/report.json          as `nettailor compare` leaves them
    docs/board/NAME/seed-0/METHOD-report.json      as `python -m recipes.evidence.board` publishes them

Boards of version 0.1 call fine-tuning `teacher`; here it is `finetune` whatever the files say.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from nettailor.artifacts.board import Board
from nettailor.artifacts.pareto import Front
from nettailor.artifacts.report import CompactFigures, Report
from nettailor.config.library import OLD_METHOD_NAMES
from nettailor.errors import FileError
from nettailor.jobs.board_rows import OURS

FINETUNE, SHALLOW = "finetune", "shallow"
RAW = ("report.json", "front.json", "recipe.yaml")


@dataclass(frozen=True)
class Cells:
    """One board and what its page is made of.

    Attributes:
        reports: of the methods that have one for every seed, in the order of `board.seeds`.
        fronts: our curves, of the seeds that have one.
    """

    board: Board
    reports: dict[str, list[Report]]
    fronts: list[Front]

    @property
    def ours(self) -> list[Report]:
        """The reports of our cells; none if we are not on the board."""
        return self.reports.get(OURS, [])

    def nets(self, method: str) -> list[CompactFigures]:
        """The networks that a method ends with, in the order of the seeds; none if it is not on the board."""
        return [report.compact for report in self.reports.get(method, [])]


def read_boards(folder: Path) -> dict[str, Cells]:
    """Every board of a folder, by the name of its own folder.

    Raises:
        FileError: there is no board, or a file of one is of another schema.
    """
    found = {path.parent.name: _read(path) for path in sorted(folder.glob("*/board.json"))}
    if not found:
        raise FileError(folder, "holds no board; make one with nettailor compare --out BOARDS/NAME")
    return found


def raw_files(folder: Path, seed: int) -> Iterator[tuple[str, str, Path]]:
    """Method (as its file calls it), kind (one of `RAW`) and place of every raw file of a seed."""
    here = folder / f"seed-{seed}"
    for kind in RAW:
        for file in sorted(here.glob(f"*/{kind}")):
            yield file.parent.name, kind, file
        for file in sorted(here.glob(f"*-{kind}")):
            yield file.name.removesuffix(f"-{kind}"), kind, file


def _read(path: Path) -> Cells:
    board, folder = Board.read(path), path.parent
    rows = [replace(row, name=OLD_METHOD_NAMES.get(row.name, row.name)) for row in board.rows]
    reports: dict[str, list[Report]] = {}
    fronts = []
    for seed in board.seeds:
        for method, kind, file in raw_files(folder, seed):
            if kind == "report.json":
                reports.setdefault(OLD_METHOD_NAMES.get(method, method), []).append(Report.read(file))
            elif kind == "front.json" and method == OURS:
                fronts.append(Front.read(file))
    whole = {method: found for method, found in reports.items() if len(found) == len(board.seeds)}
    return Cells(replace(board, rows=rows), whole, fronts)
