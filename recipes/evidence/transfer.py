"""Train what docs/evidence.md says of the transfer methods, and write that page from what is finished.

    python -m recipes.evidence.transfer --out runs/evidence --data DIR                 train, group by group
    python -m recipes.evidence.transfer --out runs/evidence --data DIR --workers 2     the same, two runs at a time
    python -m recipes.evidence.transfer --out runs/evidence --data DIR --only kind     a group alone; may be repeated
    python -m recipes.evidence.transfer --out runs/evidence --data DIR --unpublished   what docs/evidence has no report of
    python -m recipes.evidence.transfer --out runs/evidence --page                     write the page; train nothing
    python -m recipes.evidence.transfer --page                                         the page anew from docs/evidence

DIR has gtsrb.zip, omniglot242.zip, cifar10_jpeg.zip and tiny_imagenet_40.zip: class folders `split/class/picture`. Every run
is a folder OUT/DATA/CELL/seed-0, with one thread: what is finished is not run again, and what was stopped goes on. The rates
are chosen first, on gtsrb, for plain fine-tuning, on the validation split, and then held. Within a group all cells have
their first seed before any has its second, so that what is cut short is the end.

Two studies of `factors` are run with `nettailor study`; the heads of docs/evidence/studies/pairs.yaml and sources.yaml say
how. The group `not_wide` needs what `python -m recipes.evidence.wide` makes.

Expected: about 400 runs of 1 to 5 minutes of one core; docs/evidence.md and a report.json of each run in docs/evidence/.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from nettailor.errors import NettailorError, UsageError, did_you_mean
from nettailor.files import write_text
from nettailor.jobs.many import Job, run_jobs
from nettailor.progress import Display
from recipes.evidence._transfer_cells import SEEDS, Cell, check_files, job_of, seed_major
from recipes.evidence._transfer_chain import write_weights
from recipes.evidence._transfer_figures import Runs
from recipes.evidence._transfer_page import page
from recipes.evidence._transfer_publish import publish
from recipes.evidence._transfer_rates import all_rate_cells, chosen_rates
from recipes.evidence._transfer_studies import publish_studies
from recipes.evidence._transfer_table import groups

DOCS = Path(__file__).parents[2] / "docs"
RATES = "rates"


def main(arguments: list[str] | None = None) -> int:
    """Train what is missing, or write the page; 1 where a run failed, or a cell was refused or is not published."""
    parser = argparse.ArgumentParser(
        prog="python -m recipes.evidence.transfer", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--out", type=Path, help="folder of the runs")
    parser.add_argument("--data", type=Path, help="folder of the pictures' zip files")
    names = ", ".join([RATES, *groups()])
    parser.add_argument("--only", action="append", metavar="GROUP", help=f"of {names}; may be repeated")
    parser.add_argument("--seeds", type=int, default=SEEDS, help="seeds of each cell, at most")
    parser.add_argument("--epochs", type=int, default=20, help="passes of every fine-tuning")
    parser.add_argument("--workers", type=int, default=1, help="runs at a time")
    parser.add_argument(
        "--unpublished", action="store_true", help="train only what has no report in the page's folder; its rates hold"
    )
    parser.add_argument(
        "--page", action="store_true", help="publish what is finished and write the page; train nothing"
    )
    parser.add_argument("--docs", type=Path, default=DOCS, help="folder of the page")
    options = parser.parse_args(arguments)
    problems = write_page(options) if options.page else train(options)
    for problem in problems:
        print(problem, file=sys.stderr)
    return 1 if problems else 0


def write_page(options: argparse.Namespace) -> list[str]:
    """Publish what is finished, and write the page from what is published; returns what was left out, a line each."""
    found, published = groups(), options.docs / "evidence"
    problems = [] if options.out is None else publish(found.values(), options.out, published, options.epochs)
    if options.out is not None:
        publish_studies(options.out, published)
    write_text(options.docs / "evidence.md", page(found, Runs(published)))
    print(options.docs / "evidence.md")
    return problems


def train(options: argparse.Namespace) -> list[str]:
    """Run what is not finished; returns what went wrong, a line each.

    Raises:
        UsageError: a folder is missing, or there is no such group.
    """
    if options.out is None:
        raise UsageError("--out: name the folder of the runs")
    wanted, display = chosen_cells(options.only), Display()
    lacking = {cell.key: reason for cells in wanted.values() for cell in cells if (reason := cell.lacks(options.out))}
    for key, reason in lacking.items():
        display.say(f"{key}: skipped: {reason}")
    wanted = {name: [cell for cell in cells if cell.key not in lacking] for name, cells in wanted.items()}
    data = check_files((cell for cells in wanted.values() for cell in cells), options.data)
    problems: list[str] = []
    for some in (
        {name: cells for name, cells in wanted.items() if (name == RATES) == first} for first in (True, False)
    ):
        plan = plan_of(some, options, data)
        outcome = run_jobs(plan.jobs, display, options.workers, prepare=plan.prepare)
        problems += [*plan.refused.values(), *(f"{name}: {reason}" for name, reason in outcome.failed.items())]
    return problems


def chosen_cells(names: Sequence[str] | None) -> dict[str, list[Cell]]:
    """The cells of the groups of these names, in the order of the table; of all where none are named.

    Raises:
        UsageError: there is no such group.
    """
    known = {RATES: all_rate_cells(), **{name: list(group.cells) for name, group in groups().items()}}
    for name in names or ():
        if name not in known:
            hint = did_you_mean(name, list(known), f"; there are {', '.join(known)}")
            raise UsageError(f"--only: there is no group {name!r}{hint}")
    return {name: cells for name, cells in known.items() if not names or name in names}


def unpublished(wanted: Sequence[tuple[Cell, int]], docs: Path) -> list[tuple[Cell, int]]:
    """The runs that have no report among the published ones, and those with whose networks they begin."""
    lacking = [(cell, seed) for cell, seed in wanted if not cell.folder(docs, seed).report.is_file()]
    first = [(cell.begins, seed) for cell, seed in lacking if cell.begins is not None]
    return [*first, *lacking]


@dataclass
class Plan:
    """What is run.

    Attributes:
        refused: cells that this version's settings refuse, with the reason, by their keys.
    """

    out: Path
    cells: dict[str, tuple[Cell, int]] = field(default_factory=dict)
    jobs: list[Job] = field(default_factory=list)
    refused: dict[str, str] = field(default_factory=dict)

    def prepare(self, job: Job) -> Job:
        """Write the network that a run begins with, once it is there."""
        cell, seed = self.cells[job.name]
        if cell.begins is not None and not (path := cell.weights(self.out, seed)).is_file():
            write_weights(cell.begins.folder(self.out, seed), path)
        return job


def plan_of(wanted: Mapping[str, Iterable[Cell]], options: argparse.Namespace, data: Path) -> Plan:
    """The jobs of some groups, each once.

    Raises:
        UsageError: a rate is not chosen yet.
    """
    docs, plan = options.docs / "evidence", Plan(options.out)
    rates = chosen_rates(options.out, *([docs] if options.unpublished else []))
    for cells in wanted.values():
        listed = list(seed_major(cells, options.seeds))
        for cell, seed in unpublished(listed, docs) if options.unpublished else listed:
            if cell.rate is not None and cell.rate not in rates:
                raise UsageError(f"--only: the rate of {cell.rate} is not chosen yet; run --only {RATES} first")
            begins = cell.begins
            if begins is not None and begins.key in plan.refused:
                plan.refused[cell.key] = f"cell {cell.key}: {begins.key} is refused, with which it begins"
                continue
            try:
                job = job_of(cell, seed, options.out, data, rates, options.epochs)
            except UsageError as error:
                plan.refused[cell.key] = str(error)
                continue
            if job.name not in plan.cells:
                plan.cells[job.name] = cell, seed
                plan.jobs.append(job)
    return plan


if __name__ == "__main__":
    try:
        sys.exit(main())
    except NettailorError as error:
        print(error, file=sys.stderr)
        sys.exit(2 if isinstance(error, UsageError) else 1)
