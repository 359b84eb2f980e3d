"""Time `nettailor compare` with two workers against one, side by side.

    python -m recipes.benchmarks.compare_workers

Four seeds of finetune, nettailor, shallow and linear on 500 training pictures of the digits, in short stages; every cell has
one CPU thread, so both commands do the same work and must end with the same figures. In each round both run once, in an order
drawn anew, each in an empty folder; a command's time is its process's, imports included. The cells of one seed wait for each
other (nettailor for its teacher, the shallower cut for nettailor's size), so what two workers share is mostly the seeds; with
two of them, one worker may have nothing left to do while the other ends the longer one.

Expected on two cores: at most 0.65 of the time of one worker; the boards are the same to the last digit.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from itertools import count
from pathlib import Path

from blocks.latency import time_in_turn
from nettailor.environment import versions
from nettailor.errors import NettailorError
from nettailor.files import read_json, write_json

SHORT = (
    "data.train_limit=500",
    "teacher.lr=0.002",
    "teacher.epochs=5",
    "student.epochs=3",
    "prune.epochs=1",
    "prune.shrink=0.6",
    "prune.measured_on=100",
    "recover.epochs=2",
    "recover.leaner=1",
)


def run_compare(workers: int, out: Path, seeds: int, settings: list[str]) -> dict[str, object]:
    """Run the command to its end; returns the board's figures, what a clock says left out.

    Raises:
        NettailorError: it failed; the message has its last lines.
    """
    command = [sys.executable, "-m", "nettailor.cli", "compare", "--workers", str(workers), "--seeds", str(seeds)]
    command += ["--out", str(out), "machine.threads=1", *settings]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode:
        raise NettailorError(f"compare --workers {workers} failed: {done.stderr.strip()[-500:]}")
    board = read_json(out / "board.json")
    for row in board["rows"]:
        del row["seconds"]
    return board  # type: ignore[no-any-return]


def main(arguments: list[str] | None = None) -> float:
    """Measure, print, and return the ratio of the medians."""
    about = (__doc__ or "").splitlines()[0]
    parser = argparse.ArgumentParser(prog="python -m recipes.benchmarks.compare_workers", description=about)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seeds", type=int, default=4)
    parser.add_argument("--out", type=Path, help="also write the figures as JSON")
    parser.add_argument("settings", nargs="*", help="section.key=value, over the short stages")
    options = parser.parse_args(arguments)
    settings = [*SHORT, *options.settings]
    boards: list[dict[str, object]] = []
    with tempfile.TemporaryDirectory() as folder:
        number = count()

        def run(workers: int) -> None:
            boards.append(run_compare(workers, Path(folder) / str(next(number)), options.seeds, settings))

        calls = {"one worker": lambda: run(1), "two workers": lambda: run(2)}
        turns = time_in_turn(calls, rounds=options.rounds, warm_up=0, shuffle=0)
    if any(board != boards[0] for board in boards):
        raise NettailorError("boards of the same cells differ; is a thread's number set elsewhere?")
    ratio = turns.ratio("two workers", "one worker")
    for name in turns.ms:
        print(f"{name:<12} {turns.timing(name).ms / 1000:7.1f} s")
    print(f"two workers take {ratio} of the time of one, over {options.rounds} rounds; the boards are the same")
    if options.out is not None:
        chosen = json.loads(json.dumps(vars(options), default=str))
        figures = {"value": ratio.value, "interval": [ratio.low, ratio.high]}
        write_json(options.out, {"options": chosen, "versions": versions(), "ms": turns.ms, "ratio": figures})
    return ratio.value


if __name__ == "__main__":
    main()
