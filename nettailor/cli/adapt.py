"""What each verb does: a dataclass of its options, and a function that turns them into a call of the library.

The heavy imports stand inside the functions, so that `--help` and `recipes` answer at once.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from nettailor.cli.inputs import DEVICES, recipe_tree
from nettailor.cli.options import option, position
from nettailor.config.library import find_recipe
from nettailor.errors import UsageError
from nettailor.methods import names

if TYPE_CHECKING:
    pass


@dataclass
class AdaptOptions:
    """Adapt a backbone to a task: teacher, student, prune, recover, compact, delta and report.

    Without arguments: the embedded backbone on scikit-learn's handwritten digits. A run that was stopped goes on; one
    that is finished is not run again. Every key of the recipe can be set as section.key=value; `nettailor recipes cat
    default` shows them all.
    """

    overrides: list[str] = position(
        "settings over the recipe's, such as student.epochs=20", "section.key=value", optional=True
    )
    recipe: str | None = option("a shipped recipe, or a YAML file of one or several tasks", metavar="NAME|FILE")
    data: str | None = option("class folders, a zip of them, digits, or a torchvision data set", metavar="DIR|ZIP|NAME")
    backbone: str | None = option("resnet34_tiny, timm/NAME, torchvision/NAME or module:callable", metavar="NAME")
    method: str | None = option(f"one of {', '.join(names())} (default: nettailor)", metavar="NAME")
    weights: str | None = option(
        "the backbone's weights in a local file (safetensors, or a checkpoint)", metavar="FILE"
    )
    out: Path | None = option(
        "folder of the run; the folder around the runs where there are several tasks", metavar="RUN"
    )
    seed: int | None = option("seed of everything that is random", metavar="N")
    device: str | None = option(DEVICES, metavar="DEVICE")
    skip_bad: bool = option("go on without pictures that can't be read", default=False)


def adapt(options: AdaptOptions) -> int:
    """`nettailor adapt`."""
    from nettailor.config.loading import merge, parse_overrides
    from nettailor.jobs.adapt import adapt as adapt_one
    from nettailor.jobs.context import resolve
    from nettailor.jobs.many import adapt_all
    from nettailor.jobs.recipe import parse_recipe, read_recipes, with_costs_of
    from nettailor.progress import Display
    from nettailor.views.tables import files_text, report_table, summary_table

    tree = merge(parse_overrides(options.overrides or []), recipe_tree(options))
    if options.recipe is None:
        recipes, several = [parse_recipe(tree, "command line")], False
    else:
        path = find_recipe(options.recipe)
        recipes = read_recipes(path, tree)
        several = len(recipes) > 1
    display = Display()
    if several:
        if options.data is not None:
            raise UsageError("--data: the recipe has several tasks, each with data of its own; leave --data out")
        parent = options.out or Path("runs")
        reports, failed = adapt_all(recipes, parent, display)
        display.console.print(summary_table(reports, failed))
        display.say(f"runs in {parent}")
        return 1 if failed else 0
    recipe = resolve(recipes[0])
    out = options.out or Path("runs") / str(recipe.task)
    if options.recipe is not None:
        recipe = with_costs_of(recipe, path, out)
    report = adapt_one(recipe, out, display)
    display.console.print(report_table(report))
    display.say(files_text(report, out))
    return 0
