"""Train what docs/evidence.md says of the transfer methods, and write that page from what is finished.

    python -m recipes.evidence.transfer --out runs/evidence --data DIR                 train, group by group
    python -m recipes.evidence.transfer --out runs/evidence --data DIR --workers 2     the same, two runs at a time
    python -m recipes.evidence.transfer --out runs/evidence --only rates --only kind   these groups alone
    python -m recipes.evidence.transfer --out runs/evidence --page                     write the page; train nothing

DIR has gtsrb.zip, omniglot242.zip and so on: class folders `split/class/picture`. Every run is a folder OUT/DATA/CELL/seed-0:
what is finished is not run again, and what was stopped goes on. One thread each. The rates are chosen first, on gtsrb,
for plain fine-tuning, on the validation split, and then held.
Expected: some 300 fine-tunings of about 75 s of one core; docs/evidence.md and a report.json of each run in docs/evidence/.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from nettailor.errors import NettailorError, UsageError, did_you_mean
from nettailor.jobs.many import Job, run_jobs
from nettailor.progress import Display
from recipes.evidence._transfer_cells import SEEDS, Cell, check_files, job_of, seed_major
from recipes.evidence._transfer_rates import chosen_rates
from recipes.evidence._transfer_table import groups

DOCS = Path(__file__).parents[2] / "docs"
RATES = "rates"


def main(arguments: list[str] | None = None) -> int:
    """Train what is missing; 1 where a run failed or this version refuses a cell."""
    parser = argparse.ArgumentParser(
        prog="python -m recipes.evidence.transfer", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--out", type=Path, required=True, help="folder of the runs")
    parser.add_argument("--data", type=Path, help="folder of the pictures' zip files")
    parser.add_argument("--only", action="append", metavar="GROUP", help=f"of {', '.join(groups())}; may be repeated")
    parser.add_argument("--seeds", type=int, default=SEEDS, help="seeds of each cell, at most")
    parser.add_argument("--epochs", type=int, default=20, help="passes of every fine-tuning")
    parser.add_argument("--workers", type=int, default=1, help="runs at a time")
    options = parser.parse_args(arguments)
    display = Display()
    wanted = chosen_groups(options.only)
    problems = []
    if RATES in wanted:
        problems += train({RATES: wanted.pop(RATES)}, options, display)
    if wanted:
        problems += train(wanted, options, display)
    for problem in problems:
        print(problem, file=sys.stderr)
    return 1 if problems else 0


def chosen_groups(names: Sequence[str] | None) -> dict[str, list[Cell]]:
    """The groups of these names, in the order of the table; all where none are named.

    Raises:
        UsageError: there is no such group.
    """
    known = groups()
    for name in names or ():
        if name not in known:
            hint = did_you_mean(name, list(known), f"; there are {', '.join(known)}")
            raise UsageError(f"--only: there is no group {name!r}{hint}")
    return {name: cells for name, cells in known.items() if not names or name in names}


def train(wanted: dict[str, list[Cell]], options: argparse.Namespace, display: Display) -> list[str]:
    """Run what is not finished of some groups; returns what went wrong, a line each."""
    missing = sorted({cell.method for cells in wanted.values() for cell in cells if not cell.exists})
    for method in missing:
        display.say(f"skipped: this version has no method {method}")
    wanted = {name: [cell for cell in cells if cell.exists] for name, cells in wanted.items()}
    data = check_files((cell for cells in wanted.values() for cell in cells), options.data)
    rates = chosen_rates(options.out)
    jobs: dict[str, Job] = {}
    refused: dict[str, str] = {}
    for cells in wanted.values():
        for cell, seed in seed_major(cells, options.seeds):
            if cell.rate is not None and cell.rate not in rates:
                raise UsageError(f"--only: the rate of {cell.rate} is not chosen yet; run --only {RATES} first")
            try:
                job = job_of(cell, seed, options.out, data, rates, options.epochs)
            except UsageError as error:
                refused[cell.key] = f"skipped: {error}"
            else:
                jobs.setdefault(job.name, job)
    outcome = run_jobs(list(jobs.values()), display, options.workers)
    return [*refused.values(), *(f"{name}: {reason}" for name, reason in outcome.failed.items())]


if __name__ == "__main__":
    try:
        sys.exit(main())
    except NettailorError as error:
        print(error, file=sys.stderr)
        sys.exit(2 if isinstance(error, UsageError) else 1)
