"""`nettailor compare`: several methods on one task, on one board."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from nettailor.cli.inputs import JobOptions, recipe_tree
from nettailor.cli.options import option
from nettailor.config.library import find_recipe
from nettailor.errors import UsageError
from nettailor.methods import names


@dataclass
class CompareOptions(JobOptions):
    """Run several methods on one task and put them on one board: accuracy, MACs, parameters, passes, seconds.

    What is finished is not run again, what was stopped goes on. Every key of the recipe can be set as section.key=value.
    """

    methods: str | None = option(
        f"methods of {', '.join(names())}, with commas between them, variants as in shallow+distill; all: every method "
        "and the variants that differ in one choice (default: finetune,nettailor,shallow,linear)",
        metavar="NAMES",
    )
    seeds: int = option("how many seeds", default=1, metavar="N")
    out: Path | None = option("folder of the board (default: boards/TASK)", metavar="DIR")


def compare(options: CompareOptions) -> int:
    """`nettailor compare`."""
    from nettailor.config.loading import merge, parse_overrides
    from nettailor.jobs.compare import compare as run_board
    from nettailor.jobs.context import resolve
    from nettailor.jobs.recipe import parse_recipe, read_recipes
    from nettailor.progress import Display
    from nettailor.views.tables import board_table, weight_table

    if options.seeds < 1:
        raise UsageError(f"--seeds: must be at least 1, but it is {options.seeds}")
    tree = merge(parse_overrides(options.overrides or []), recipe_tree(options))
    recipes = (
        [parse_recipe(tree, "command line")]
        if options.recipe is None
        else read_recipes(find_recipe(options.recipe), tree)
    )
    if len(recipes) > 1:
        raise UsageError("--recipe: has several tasks, a board has one; name a recipe of one task")
    recipe = resolve(recipes[0], of_board=True)
    wanted = _rows(options.methods)
    out = options.out or Path("boards") / str(recipe.task)
    display = Display()
    board = run_board(recipe, wanted, options.seeds, out, display, options.workers, options.on)
    display.console.print(board_table(board))
    if (weights := weight_table(board)) is not None:
        display.console.print(weights)
    display.say(f"board    {out / 'board.json'}  {out / 'board.png'}")
    return 0


def _rows(methods: str | None) -> tuple[str, ...]:
    """The rows that `--methods` names; `all` may stand among them."""
    from nettailor.jobs.board_rows import ALL, SHORT

    if methods is None:
        return SHORT
    named = [name.strip() for name in methods.split(",")]
    return tuple(row for name in named for row in (ALL if name == "all" else (name,)))
