"""What is claimed of two cells, and what the runs say of it.

Claim(ours, other, metric) -> ours minus other, seed by seed -> 95 % t interval -> agrees, disagrees, not shown
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from recipes.evidence._board_statistics import Difference, paired_difference
from recipes.evidence._transfer_cells import Cell
from recipes.evidence._transfer_figures import TEST, BestOf, Metric, Runs, figure, one_cell

AGREES, DISAGREES, NOT_SHOWN, NOT_RUN = "agrees", "disagrees", "not shown", "not run"
HIGHER, LOWER = "shown: above", "shown: below"


@dataclass(frozen=True)
class Claim:
    """That one cell's figure is above another's.

    Attributes:
        text: what is claimed, or compared.
        published: what the paper reports for it; empty where the comparison is ours: then nothing can agree.
        below: the claim is that it is below.
    """

    text: str
    ours: Cell | BestOf
    other: Cell | BestOf
    published: str = ""
    metric: Metric = TEST
    below: bool = False


@dataclass(frozen=True)
class Found:
    """What the runs say of a claim: ours minus the other, paired over seeds; None where no seed has both.

    Attributes:
        without: finished seeds in which a side has no such figure, as where a bound is never reached.
    """

    word: str
    seeds: list[int]
    difference: Difference | None
    without: tuple[int, ...] = ()


def judge(claim: Claim, runs: Runs, seeds: int) -> Found:
    """Hold a claim against the runs that are finished.

    Nothing is shown where a finished run has no such figure: the seeds that have one are not all that were tried.

    Args:
        seeds: looked for, from 0.
    """
    pairs, without = {}, []
    for seed in range(seeds):
        if any(one_cell(of, runs, seed) is None for of in (claim.ours, claim.other)):
            continue
        ours, other = (figure(claim.metric, of, runs, seed) for of in (claim.ours, claim.other))
        if ours is None or other is None:
            without.append(seed)
        else:
            pairs[seed] = ours, other
    if not pairs:
        return Found(NOT_SHOWN if without else NOT_RUN, [], None, tuple(without))
    difference = paired_difference(*zip(*pairs.values(), strict=True))
    return Found(NOT_SHOWN if without else _word(claim, difference), list(pairs), difference, tuple(without))


def _word(claim: Claim, difference: Difference) -> str:
    if not difference.shown:
        return NOT_SHOWN
    if not claim.published:
        return HIGHER if difference.mean > 0 else LOWER
    return AGREES if (difference.mean < 0) == claim.below else DISAGREES


@dataclass(frozen=True)
class Group:
    """What is shown together: cells, and claims about them.

    Attributes:
        paper: what the paper reports, or claims.
        ran: what stands in for it here.
        published: the paper's figure for a cell, by the cell's key.
        columns: figures of the table of cells.
        studies: whether the studies of `_transfer_studies` are shown with it.
        record: a JSON file beside the runs, of figures of another procedure that the cells need.
    """

    title: str
    paper: str
    ran: str
    cells: Sequence[Cell]
    claims: Sequence[Claim] = ()
    published: Mapping[str, str] = field(default_factory=dict)
    columns: tuple[Metric, ...] = (TEST,)
    record: str = ""
    studies: bool = False

    def __post_init__(self) -> None:
        """Every cell of a claim is one of the group's."""
        own = {cell.key for cell in self.cells}
        for claim in self.claims:
            for side in (claim.ours, claim.other):
                for cell in side.cells if isinstance(side, BestOf) else (side,):
                    assert cell.key in own, f"{self.title}: {cell.key}"

    def files(self) -> set[str]:
        """What is published of its runs beside their reports."""
        metrics = [*self.columns, *(claim.metric for claim in self.claims)]
        return {file for metric in metrics for file in metric.files}
