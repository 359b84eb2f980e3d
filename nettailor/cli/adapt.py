"""`nettailor adapt`: a backbone to one task or several, by one method.

As in every verb's file, the heavy imports stand inside the function, so that `--help` answers at once.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from nettailor.cli.inputs import JobOptions, recipe_tree
from nettailor.cli.options import option
from nettailor.config.library import find_recipe
from nettailor.errors import NettailorError, UsageError
from nettailor.methods import names, summaries

if TYPE_CHECKING:
    from nettailor.jobs.recipe import Recipe
    from nettailor.progress import Display


@dataclass
class AdaptOptions(JobOptions):
    """Adapt a backbone to a task: teacher, student, prune, recover, compact, delta and report.

    Without arguments: the embedded backbone on scikit-learn's handwritten digits. A run that was stopped goes on; one
    that is finished is not run again. Every key of the recipe can be set as section.key=value; `nettailor recipes cat
    default` shows them all. For photographs, data.augment=photo is recommended: random resized crops, mirroring and
    colour jitter in place of the small shifts and rotations that fit signs and characters.
    """

    recipe: str | None = option("a shipped recipe, or a YAML file of one or several tasks", metavar="NAME|FILE")
    method: str | None = option("a method of the list below (default: nettailor)", metavar="NAME")
    out: Path | None = option(
        "folder of the run (default: runs/TASK, or runs/TASK-METHOD); of several tasks the folder around the runs",
        metavar="RUN",
    )
    via: str | None = option("grow for these pictures first (methods grow_*)", metavar="DIR|ZIP|NAME")
    forgetting: bool = option("measure what a grown network still knows of source.data", default=False)
    seed: int | None = option("seed of everything that is random (default: 0)", metavar="N")
    search_freezing: bool = option(
        "train from every layer up, a run each (keep_classifier, finetune); validation chooses", default=False
    )
    every: int = option("with --search-freezing: of the blocks, each N-th from the top down", default=1, metavar="N")
    skip_bad: bool = option("go on without pictures that can't be read", default=False)

    @staticmethod
    def help_at_end() -> str:
        """Every method with its summary."""
        longest = max(map(len, names()))
        return "\n".join(["methods:", *(f"  {name:<{longest}}  {said}" for name, said in summaries().items())])


def adapt(options: AdaptOptions) -> int:
    """`nettailor adapt`."""
    from nettailor.artifacts.confusion import Confusion
    from nettailor.artifacts.run_folder import RunFolder
    from nettailor.config.loading import merge, parse_overrides
    from nettailor.jobs.adapt import adapt as adapt_one
    from nettailor.jobs.context import resolve, usual_folder
    from nettailor.jobs.many import Job, adapt_all, run_jobs
    from nettailor.jobs.recipe import parse_recipe, read_recipes, with_costs_of
    from nettailor.progress import Display
    from nettailor.views.tables import confusion_table, files_text, report_table, summary_table

    tree = merge(parse_overrides(options.overrides or []), recipe_tree(options))
    if options.recipe is None:
        recipes, several = [parse_recipe(tree, "command line")], False
    else:
        path = find_recipe(options.recipe)
        recipes = read_recipes(path, tree)
        several = len(recipes) > 1
    display = Display()
    if several:
        if options.search_freezing:
            raise UsageError("--search-freezing: the recipe has several tasks; name a recipe of one task")
        if options.data is not None:
            raise UsageError("--data: the recipe has several tasks, each with data of its own; leave --data out")
        parent = options.out or Path("runs")
        reports, failed = adapt_all(recipes, parent, display, options.workers, options.on)
        display.console.print(summary_table(reports, failed))
        display.say(f"runs in {parent}")
        return 1 if failed else 0
    recipe = resolve(recipes[0])
    out = options.out or usual_folder(recipe)
    if options.recipe is not None:
        recipe = with_costs_of(recipe, path, out)
    if options.search_freezing:
        return _search_freezing(options, recipe, display)
    if options.every != 1:
        raise UsageError("--every: is for --search-freezing")
    if options.workers != 1:
        raise UsageError("--workers: one task is one job; it is for a recipe of several tasks")
    if options.on is None:
        report = adapt_one(recipe, out, display)
    else:
        name = str(recipe.task)
        outcome = run_jobs([Job(name, recipe, out)], display, on=options.on)
        if outcome.failed:
            raise NettailorError(outcome.failed[name])
        report = outcome.reports[name]
    display.console.print(report_table(report))
    if (file := RunFolder(out).confusion).is_file():  # runs of earlier versions have none
        display.console.print(confusion_table(Confusion.read(file)))
    display.say(files_text(report, out))
    return 0


def _search_freezing(options: AdaptOptions, recipe: Recipe, display: Display) -> int:
    """One run for each first trained layer, and their curve."""
    from nettailor.jobs.context import usual_folder
    from nettailor.jobs.freezing import CURVE, search_freezing
    from nettailor.views.freezing import freezing_table

    usual = usual_folder(recipe)
    out = options.out or usual.with_name(f"{usual.name}-freezing")
    found = search_freezing(recipe, out, options.every, display, options.workers, options.on)
    display.console.print(freezing_table(found))
    display.say(f"chosen   {out / found.chosen}\ncurve    {out / CURVE}  {(out / CURVE).with_suffix('.png')}")
    return 0
