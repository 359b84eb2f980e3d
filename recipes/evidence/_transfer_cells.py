"""What a cell of the evidence on transfer methods is: one method with its settings on one set of pictures, some seeds.

Cell, seed, rates -> recipe tree -> OUT/DATA/NAME/seed-0
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nettailor import methods
from nettailor.artifacts.run_folder import RunFolder
from nettailor.config.loading import merge
from nettailor.errors import UsageError
from nettailor.jobs.many import Job
from nettailor.jobs.recipe import Recipe, parse_recipe

SEEDS = 3
SGD, ADAMW = "sgd", "adamw"
METHOD_OPTIMIZER = {SGD: "sgd", ADAMW: "training"}
"""What `method.optimizer` says for each."""


@dataclass(frozen=True)
class Pictures:
    """A file in the folder that `--data` names, as a value of a setting."""

    file: str


@dataclass(frozen=True)
class Made:
    """A file in the folder of the runs that another procedure makes, as a value of a setting."""

    file: str


OMNIGLOT = Pictures("omniglot242.zip")
FIRST_THREE = "Balinese|Early_Aramaic|Greek"
CHARACTERS = "omniglot242-first-four"
DATA: dict[str, Mapping[str, Any]] = {
    "gtsrb": {"data.source": Pictures("gtsrb.zip"), "data.group": r"([^/]+/\d+)_"},
    "omniglot242": {"data.source": OMNIGLOT},
    CHARACTERS: {"data.source": OMNIGLOT, "data.classes": f"({FIRST_THREE}|Japanese).*"},
    "omniglot242-first-three": {"data.source": OMNIGLOT, "data.classes": f"({FIRST_THREE}).*"},
    "omniglot242-last-five": {"data.source": OMNIGLOT, "data.classes": f"(?!{FIRST_THREE}).*"},
    "cifar10_jpeg": {"data.source": Pictures("cifar10_jpeg.zip")},
}
"""Pictures to tune on: settings of the section `data`. Alphabets are in the order of their names."""


@dataclass(frozen=True)
class Cell:
    """One row of a table: a method with its settings on one set of pictures.

    Attributes:
        name: of its folder; a cell that two groups name is trained once.
        settings: `section.key` to value, over those that all cells have.
        rate: whose chosen rate it trains with, `sgd` or `adamw`; None: as `settings` say.
        seeds: how many, counted from 0.
        begins: the cell whose network, of the same seed, it begins with in place of the backbone.
        longer: how many times as many passes as a cell has.
    """

    name: str
    method: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    data: str = "gtsrb"
    rate: str | None = SGD
    seeds: int = SEEDS
    begins: Cell | None = None
    longer: int = 1

    @property
    def key(self) -> str:
        """Its folder below that of all runs."""
        return f"{self.data}/{self.name}"

    def folder(self, out: Path, seed: int) -> RunFolder:
        """Where the run of a seed is, or was published."""
        return RunFolder(out / self.data / self.name / f"seed-{seed}")

    def weights(self, out: Path, seed: int) -> Path:
        """The file of the network that it begins with."""
        return out / self.data / self.name / f"begins-{seed}.safetensors"

    def choices(self, rates: Mapping[str, float], epochs: int) -> dict[str, Any]:
        """All settings by which it differs from another cell: `section.key` to value."""
        found = {"teacher.epochs": self.longer * epochs, **DATA[self.data], "method.name": self.method, **self.settings}
        return found if self.rate is None else {"teacher.lr": rates.get(self.rate), **found}

    def recipe(self, seed: int, out: Path, data: Path, rates: Mapping[str, float], epochs: int) -> Recipe:
        """What is run.

        Args:
            out: folder of the runs.
            data: folder of the pictures' files.
            rates: chosen, by optimiser.

        Raises:
            UsageError: this version's settings refuse it.
        """
        settings: dict[str, Any] = {
            "seed": seed,
            "task": self.data,
            "machine.threads": 1,
            "teacher.start": "fresh",
            "prune.cut": "fade",
            **self.choices(rates, epochs),
        }
        if self.begins is not None:
            settings["backbone.weights"] = str(self.weights(out, seed))
        return parse_recipe(_tree(settings, data, out), f"cell {self.key}")

    def files(self) -> Iterator[str]:
        """The files of pictures that it reads."""
        for value in {**DATA[self.data], **self.settings}.values():
            if isinstance(value, Pictures):
                yield value.file

    def lacks(self, out: Path) -> str | None:
        """Why it can't run yet, in a few words; None if it can."""
        if self.method not in methods.names():
            return f"this version has no method {self.method}"
        for value in self.settings.values():
            if isinstance(value, Made) and not (out / value.file).is_file():
                return f"{out / value.file} is not made yet"
        return None if self.begins is None else self.begins.lacks(out)


def seed_major(cells: Iterable[Cell], seeds: int) -> Iterator[tuple[Cell, int]]:
    """Every cell with its first seed, then every cell with its second one: what is cut short is the last seeds."""
    listed = list(cells)
    for seed in range(seeds):
        for cell in listed:
            if seed < cell.seeds:
                yield cell, seed


def job_of(cell: Cell, seed: int, out: Path, data: Path, rates: Mapping[str, float], epochs: int) -> Job:
    """The job of one run.

    Raises:
        UsageError: this version's settings refuse it.
    """
    after = () if cell.begins is None else (f"{cell.begins.key}/seed-{seed}",)
    recipe = cell.recipe(seed, out, data, rates, epochs)
    return Job(f"{cell.key}/seed-{seed}", recipe, cell.folder(out, seed).root, after=after)


def check_files(cells: Iterable[Cell], data: Path | None) -> Path:
    """The folder of the pictures, which has all files that the cells read.

    Raises:
        UsageError: it has not, or none is named.
    """
    wanted = sorted({file for cell in cells for file in cell.files()})
    if data is None:
        raise UsageError(f"--data: name the folder of {', '.join(wanted)}")
    if missing := [file for file in wanted if not (data / file).is_file()]:
        raise UsageError(f"--data: {data} has no {', '.join(missing)}; --only GROUP runs what needs fewer files")
    return data


def _tree(settings: Mapping[str, Any], data: Path, out: Path) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for name, value in settings.items():
        inner: Any = value
        if isinstance(value, Pictures | Made):
            inner = str((data if isinstance(value, Pictures) else out) / value.file)
        for key in reversed(name.split(".")):
            inner = {key: inner}
        tree = merge(tree, inner)
    return tree
