"""What several tasks cost together where their networks begin with the same blocks, against networks of their own.

    python -m recipes.evidence.shared_prefix --out runs/shared_prefix                 train, measure, write docs/suite/
    python -m recipes.evidence.shared_prefix --out runs/shared_prefix --workers 2     the same, two runs at a time
    python -m recipes.evidence.shared_prefix --out runs/shared_prefix --measure       measure what is finished; train nothing

Each task of a recipe (eight_tasks, unless --recipe says otherwise) is fine-tuned once; that network is the teacher of one
compact net for each length of the prefix (--prefixes: 0, a third and a half of the backbone's blocks). Every training is a
run folder OUT/TASK/finetune or OUT/TASK/n5: what is finished is not run again, and what was stopped goes on. Times are of
folded and packed networks on one picture with one thread, all taking turns.

Expected: docs/suite/shared_prefix.md and .json; about an hour and a half on one core.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, fx

from blocks import Backbone, CompactNet, pack
from blocks.latency import Turns, Until, picture, time_in_turn
from nettailor.artifacts import delta
from nettailor.artifacts.report import Report
from nettailor.artifacts.run_folder import RunFolder
from nettailor.backbones.load import load_backbone
from nettailor.config.library import find_recipe
from nettailor.config.loading import parse_overrides
from nettailor.environment import device_name, versions
from nettailor.errors import NettailorError
from nettailor.files import write_text
from nettailor.jobs.many import Job, run_jobs
from nettailor.jobs.recipe import Recipe, read_recipes
from nettailor.progress import Display
from nettailor.suite.prefix import SharedNets, shared_macs
from recipes.evidence._shared_prefix_page import Cell, Figures, Ratio, Together, page

DOCS = Path(__file__).parents[2] / "docs"
FINETUNE = "finetune"
SIZES = (2, 4, 8)
"""How many tasks are run together. Where fewer are finished their networks stand in for more, several times each."""


def main(arguments: list[str] | None = None) -> int:
    """Train what is missing, measure what is finished, write the page; 1 where a training failed."""
    parser = argparse.ArgumentParser(
        prog="python -m recipes.evidence.shared_prefix", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--recipe", default="eight_tasks", help="tasks, all over one backbone")
    parser.add_argument("--out", type=Path, required=True, help="folder of the runs")
    parser.add_argument("--prefixes", help="lengths of the prefix, as 0,5,8")
    parser.add_argument(
        "--budgets", help="parts of the backbone's MACs, one for each prefix: prune to these sizes, not to a drop"
    )
    parser.add_argument("--workers", type=int, default=1, help="trainings at a time")
    parser.add_argument("--measure", action="store_true", help="train nothing, measure what is finished")
    parser.add_argument("--rounds", type=int, default=100, help="how often each network is timed, at least")
    parser.add_argument("--docs", type=Path, default=DOCS / "suite", help="folder of the page and of its raw figures")
    parser.add_argument("overrides", nargs="*", help="section.key=value, as nettailor adapt takes them")
    options = parser.parse_args(arguments)
    recipes = read_recipes(find_recipe(options.recipe), parse_overrides(options.overrides))
    backbone = _backbone_of(recipes)
    given = options.prefixes or f"0,{backbone.depth // 3},{backbone.depth // 2}"
    prefixes = [int(word) for word in given.split(",")]
    budgets = [float(word) for word in options.budgets.split(",")] if options.budgets else [None] * len(prefixes)
    if prefixes[0] != 0 or len(budgets) != len(prefixes):
        raise NettailorError("--prefixes: begins with 0, which the others are compared with; --budgets: one for each")
    failed: dict[str, str] = {}
    if not options.measure:
        display = Display()
        failed = run_jobs(
            jobs_of(recipes, dict(zip(prefixes, budgets, strict=True)), options.out), display, options.workers
        ).failed
    tasks = [str(recipe.task) for recipe in recipes]
    figures = measured(options.out, tasks, prefixes, backbone, options.rounds, options.overrides)
    figures.write(options.docs / "shared_prefix.json")
    write_text(options.docs / "shared_prefix.md", page(figures))
    print(f"{options.docs / 'shared_prefix.md'}: {len(figures.tasks)} of {len(recipes)} tasks finished")
    for name, reason in failed.items():
        print(f"{name}: {reason}; the same command runs what is not finished yet", file=sys.stderr)
    return 1 if failed else 0


def _backbone_of(recipes: Sequence[Recipe]) -> Backbone:
    if len({recipe.backbone for recipe in recipes}) != 1:
        raise NettailorError("recipe: its tasks stand over different backbones, so they have nothing to share")
    config = recipes[0].backbone
    return load_backbone(config.name, config.weights, config.input_size)


def jobs_of(recipes: Sequence[Recipe], budgets: Mapping[int, float | None], out: Path) -> list[Job]:
    """Task by task: fine-tuning, then a compact net of that teacher for each length of the prefix.

    Args:
        budgets: by the length of the prefix, a part of the backbone's MACs; None: as the recipe prunes.
    """
    jobs = []
    for recipe in recipes:
        folder = out / str(recipe.task)
        teacher = f"{recipe.task}/{FINETUNE}"
        jobs.append(Job(teacher, recipe.with_method(FINETUNE), folder / FINETUNE))
        for length, budget in budgets.items():
            prune = recipe.prune if budget is None else replace(recipe.prune, how="budget", budget=budget)
            own = replace(recipe, student=replace(recipe.student, shared_prefix=length), prune=prune)
            name, nets = f"n{length}", RunFolder(folder / FINETUNE).nets
            jobs.append(Job(f"{recipe.task}/{name}", own, folder / name, nets, after=(teacher,)))
    return jobs


def measured(
    out: Path,
    tasks: Sequence[str],
    prefixes: Sequence[int],
    backbone: Backbone,
    rounds: int,
    overrides: Sequence[str] = (),
) -> Figures:
    """The figures of all tasks of which every run is finished.

    Args:
        overrides: of the recipe, that the runs were made with: they are written down.

    Raises:
        NettailorError: there are fewer than two.
    """
    names = [FINETUNE, *(f"n{length}" for length in prefixes)]
    finished = [task for task in tasks if all(RunFolder(out / task / name).report.is_file() for name in names)]
    if len(finished) < 2:
        raise NettailorError(f"{out}: has fewer than two tasks with all of {', '.join(names)} finished")
    reports = {(task, name): Report.read(out / task / name / "report.json") for task in finished for name in names}
    nets = {key: delta.load(out / key[0] / key[1], backbone).net for key in reports}
    first = next(iter(reports.values()))
    return Figures(
        backbone=first.backbone.name,
        backbone_macs=first.backbone.macs,
        blocks=backbone.depth,
        prefixes=list(prefixes),
        overrides=list(overrides),
        budgets=_budgets(out / finished[0], prefixes),
        tasks=finished,
        unfinished=[task for task in tasks if task not in finished],
        cells=[_cell(task, name, report) for (task, name), report in reports.items()],
        together=[_together(_some(finished, size), prefixes, nets, rounds) for size in SIZES],
        device=device_name(torch.device("cpu")),
        versions=versions(),
    )


def _budgets(folder: Path, prefixes: Sequence[int]) -> list[float] | None:
    """What the nets were pruned to, as their recipes say; None where that was a drop."""
    prunes = [Recipe.read(folder / f"n{length}" / "recipe.yaml").prune for length in prefixes]
    found = [prune.budget for prune in prunes if prune.how == "budget" and prune.budget is not None]
    return found if len(found) == len(prefixes) else None


def _some(finished: Sequence[str], size: int) -> list[str]:
    """So many tasks; over and over again where there are fewer."""
    return [finished[number % len(finished)] for number in range(size)]


def _cell(task: str, name: str, report: Report) -> Cell:
    compact = report.compact
    return Cell(
        task,
        name,
        report.data.test,
        report.data.classes,
        compact.test_accuracy,
        compact.val_accuracy,
        compact.macs,
        compact.params,
        compact.task_params,
        compact.universal_blocks_kept,
        compact.proxies_kept,
        sum(report.seconds.values()),
        report.seed,
        report.device,
    )


@torch.inference_mode()
def _together(
    tasks: Sequence[str], prefixes: Sequence[int], nets: Mapping[tuple[str, str], CompactNet], rounds: int
) -> Together:
    """MACs and milliseconds of these tasks on one picture: with networks of their own, and with what they share run once."""
    own = {name: [nets[task, name] for task in tasks] for name in (FINETUNE, *(f"n{length}" for length in prefixes))}
    numbered = {name: {f"{number} {task}": nets[task, name] for number, task in enumerate(tasks)} for name in own}
    shared = {f"n{length}": SharedNets(numbered[f"n{length}"], fast=True, packed=True) for length in prefixes if length}
    x = picture(1, own[FINETUNE][0].spec.size, torch.device("cpu"))
    calls: dict[str, Callable[[], object]] = {name: _Apart(some, x) for name, some in own.items()}
    calls |= {f"{name} shared": _Shared(net, x) for name, net in shared.items()}
    _check_answers(own, shared)
    turns = time_in_turn(calls, threads=1, rounds=rounds, shuffle=0, until=Until("n0", 0.03, 4 * rounds))
    macs = {name: sum(net.cost().macs for net in some) for name, some in own.items()}
    macs |= {f"{name} shared": shared_macs(numbered[name]) for name in shared}
    return Together(list(tasks), macs, {name: turns.timing(name).ms for name in calls}, _ratios(turns, "n0"))


def _ratios(turns: Turns, to: str) -> dict[str, Ratio]:
    found = turns.ratios(to)
    return {name: Ratio(ratio.value, ratio.low, ratio.high) for name, ratio in found.items()}


class _Apart:
    """Every network by itself, one after the other."""

    def __init__(self, nets: Sequence[CompactNet], x: Tensor) -> None:
        self._folded: list[fx.GraphModule] = [pack(net.for_inference()) for net in nets]
        self._x = x

    def __call__(self) -> object:
        return [net(self._x) for net in self._folded]


class _Shared:
    """All networks, what they begin with computed once."""

    def __init__(self, nets: SharedNets, x: Tensor) -> None:
        self._nets, self._x = nets, x

    def __call__(self) -> object:
        return self._nets(self._x)


def _check_answers(own: Mapping[str, Sequence[CompactNet]], shared: Mapping[str, SharedNets]) -> None:
    """What is timed has to answer like the networks that the accuracies are of.

    Raises:
        NettailorError: it does not.
    """
    for name, together in shared.items():
        nets = own[name]
        noise = torch.randn(8, 3, nets[0].spec.size, nets[0].spec.size, generator=torch.Generator().manual_seed(0))
        for net, logits in zip(nets, together(noise).values(), strict=True):
            alone = net(noise)
            off = float((logits - alone).abs().max() / alone.abs().max())
            if off > 1e-4:
                raise NettailorError(
                    f"{name}: answers together are {off:.1e} of their range off those of separate runs"
                )


if __name__ == "__main__":
    try:
        sys.exit(main())
    except NettailorError as error:
        print(error, file=sys.stderr)
        sys.exit(1)
