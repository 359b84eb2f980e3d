"""What each verb does: a dataclass of its options, and a function that turns them into a call of the library.

The heavy imports stand inside the functions, so that `--help` and `recipes` answer at once.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nettailor.errors import FileProblem, UsageProblem
from nettailor.model_verbs import BlocksOptions, ProfileOptions, blocks, profile
from nettailor.options import option, position
from nettailor.recipe_verbs import RecipesOptions, recipes
from nettailor.shipped import find_recipe

if TYPE_CHECKING:
    from blocks import Backbone

DEVICES = "cpu, cuda or auto: a GPU where there is one"


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
    weights: str | None = option(
        "the backbone's weights in a local file (safetensors, or a checkpoint)", metavar="FILE"
    )
    out: Path | None = option(
        "folder of the run; the folder around the runs where there are several tasks", metavar="RUN"
    )
    seed: int | None = option("seed of everything that is random", metavar="N")
    device: str | None = option(DEVICES, metavar="DEVICE")
    skip_bad: bool = option("go on without pictures that can't be read", default=False)


@dataclass
class PruneOptions:
    """Choose another size for the student of a finished run; neither teacher nor student is trained again.

    The new size gets a run folder of its own, with its delta and report. prune.* and recover.* can be set as
    section.key=value.
    """

    run: Path = position("the folder of a finished nettailor adapt", "RUN")
    overrides: list[str] = position(
        "settings over the run's recipe, such as prune.epochs=3", "section.key=value", optional=True
    )
    macs: float | None = option("at most this part of the backbone's MACs", metavar="PART")
    params: float | None = option("at most this part of the backbone's parameters", metavar="PART")
    latency_ms: float | None = option("at most so many milliseconds, by the run's cost table", metavar="MS")
    drop: float | None = option("the leanest network within so many points of the teacher", metavar="POINTS")
    front: bool = option("the whole curve of accuracy against cost: table, front.json, front.png", default=False)
    out: Path | None = option("folder of the new run (default: RUN/prune/WISH)", metavar="DIR")
    device: str | None = option(DEVICES, metavar="DEVICE")


@dataclass
class CompareOptions:
    """Run several methods on one task and put them on one board: accuracy, MACs, parameters, passes, seconds.

    Methods: teacher, nettailor, paper, shallow, linear, batch_norm, adapters. What is finished is not run again, what was
    stopped goes on. Every key of the recipe can be set as section.key=value.
    """

    overrides: list[str] = position(
        "settings over the recipe's, such as student.epochs=20", "section.key=value", optional=True
    )
    recipe: str | None = option("a shipped recipe, or a YAML file of one task", metavar="NAME|FILE")
    data: str | None = option("class folders, a zip of them, digits, or a torchvision data set", metavar="DIR|ZIP|NAME")
    backbone: str | None = option("resnet34_tiny, timm/NAME, torchvision/NAME or module:callable", metavar="NAME")
    weights: str | None = option("the backbone's weights in a local file", metavar="FILE")
    methods: str | None = option("which methods, with commas between them; all if left out", metavar="NAMES")
    seeds: int = option("how many seeds", default=1, metavar="N")
    out: Path | None = option("folder of the board (default: boards/TASK)", metavar="DIR")
    device: str | None = option(DEVICES, metavar="DEVICE")


@dataclass
class EvalOptions:
    """Accuracy of a compact net, from its delta, on the test pictures of its task or on others."""

    run: Path = position("a run's folder, or its delta's", "RUN")
    data: str | None = option("other pictures, in the same classes", metavar="DIR|ZIP|NAME")
    split: str = option("which split", default="test", choices=("train", "val", "test"))
    backbone: str | None = option("the backbone, where its name in the delta is not enough", metavar="NAME")
    weights: str | None = option("the backbone's weights in a local file", metavar="FILE")
    proxies: str | None = option("import this form of proxy, where the delta uses one", metavar="MODULE:FUNCTION")
    device: str = option(DEVICES, default="auto", metavar="DEVICE")
    skip_bad: bool = option("go on without pictures that can't be read", default=False)


@dataclass
class PredictOptions:
    """Classes of pictures, from the delta, each with its probability."""

    run: Path = position("a run's folder, or its delta's", "RUN")
    images: list[str] = position("pictures", "IMAGE")
    top: int = option("how many classes for each picture", default=1, metavar="K")
    backbone: str | None = option("the backbone, where its name in the delta is not enough", metavar="NAME")
    weights: str | None = option("the backbone's weights in a local file", metavar="FILE")
    proxies: str | None = option("import this form of proxy, where the delta uses one", metavar="MODULE:FUNCTION")
    device: str = option(DEVICES, default="auto", metavar="DEVICE")


@dataclass
class ShowOptions:
    """The kept blocks and proxies of a finished run, layer by layer."""

    run: Path = position("a run's folder, or its delta's", "RUN")
    svg: Path | None = option("also draw them into this file", metavar="FILE")
    backbone: str | None = option("the backbone, where its name in the delta is not enough", metavar="NAME")
    weights: str | None = option("the backbone's weights in a local file", metavar="FILE")
    proxies: str | None = option("import this form of proxy, where the delta uses one", metavar="MODULE:FUNCTION")


def adapt(options: AdaptOptions) -> int:
    """`nettailor adapt`."""
    from nettailor.adaptation import adapt as adapt_one
    from nettailor.adaptation import adapt_all
    from nettailor.display import Display
    from nettailor.opening import resolve
    from nettailor.recipe import merge, parse_overrides, parse_recipe, read_recipes
    from nettailor.tables import files_text, report_table, summary_table

    tree = merge(parse_overrides(options.overrides or []), _as_tree(options))
    if options.recipe is None:
        recipes, several = [parse_recipe(tree, "command line")], False
    else:
        path = find_recipe(options.recipe)
        recipes = read_recipes(path, tree)
        several = len(recipes) > 1
    display = Display()
    if several:
        if options.data is not None:
            raise UsageProblem("--data: the recipe has several tasks, each with data of its own; leave --data out")
        parent = options.out or Path("runs")
        reports, failed = adapt_all(recipes, parent, display)
        display.console.print(summary_table(reports, failed))
        display.say(f"runs in {parent}")
        return 1 if failed else 0
    recipe = resolve(recipes[0])
    out = options.out or Path("runs") / str(recipe.task)
    report = adapt_one(recipe, out, display)
    display.console.print(report_table(report))
    display.say(files_text(report, out))
    return 0


def prune(options: PruneOptions) -> int:
    """`nettailor prune`."""
    from nettailor.display import Display
    from nettailor.front import Front, front_table
    from nettailor.recipe import merge, parse_overrides
    from nettailor.resizing import Wish, resize
    from nettailor.runfolder import RunFolder
    from nettailor.tables import files_text, report_table

    wish = Wish(options.macs, options.params, options.latency_ms, options.drop, options.front)
    tree = parse_overrides(options.overrides or [])
    if options.device is not None:
        tree = merge(tree, {"machine": {"device": options.device}})
    display = Display()
    report, out = resize(options.run, wish, tree, options.out, display)
    display.console.print(report_table(report))
    if options.front:
        curve = RunFolder(out).front
        display.console.print(front_table(Front.read(curve)))
        display.say(f"curve    {curve}  {curve.with_suffix('.png')}")
    display.say(files_text(report, out))
    return 0


def compare(options: CompareOptions) -> int:
    """`nettailor compare`."""
    from nettailor.board import METHODS
    from nettailor.board import compare as run_board
    from nettailor.display import Display
    from nettailor.opening import resolve
    from nettailor.recipe import merge, parse_overrides, parse_recipe, read_recipes
    from nettailor.tables import board_table

    if options.seeds < 1:
        raise UsageProblem(f"--seeds: must be at least 1, but it is {options.seeds}")
    tree = merge(parse_overrides(options.overrides or []), _as_tree(options))
    recipes = (
        [parse_recipe(tree, "command line")]
        if options.recipe is None
        else read_recipes(find_recipe(options.recipe), tree)
    )
    if len(recipes) > 1:
        raise UsageProblem("--recipe: has several tasks, a board has one; name a recipe of one task")
    recipe = resolve(recipes[0])
    methods = METHODS if options.methods is None else tuple(name.strip() for name in options.methods.split(","))
    out = options.out or Path("boards") / str(recipe.task)
    display = Display()
    board = run_board(recipe, methods, options.seeds, out, display)
    display.console.print(board_table(board))
    display.say(f"board    {out / 'board.json'}  {out / 'board.png'}")
    return 0


def evaluate(options: EvalOptions) -> int:
    """`nettailor eval`."""
    from dataclasses import replace

    from nettailor.delta import delta_folder, load
    from nettailor.fit import accuracy
    from nettailor.opening import pick_device
    from nettailor.recipe import DataChoice, parse_recipe, read_recipes
    from nettailor.task import load_task

    delta = load(options.run, _backbone(options))
    recipe = parse_recipe(delta.description.settings, str(options.run)) if delta.description.settings else None
    recipe_file = delta_folder(options.run).parent / "recipe.yaml"
    if recipe_file.is_file():
        (recipe,) = read_recipes(recipe_file)
    if options.data is not None:
        choice = DataChoice(source=options.data)
    elif recipe is not None:
        choice = recipe.data
    else:
        raise UsageProblem(f"{options.run}: says nothing of its pictures; name some with --data")
    if options.skip_bad:
        choice = replace(choice, skip_bad=True)
    task = load_task(choice, delta.net.spec, recipe.seed if recipe else 0)
    if task.classes != delta.classes:
        odd = sorted(set(task.classes) ^ set(delta.classes))
        raise FileProblem(
            choice.source, f"has other classes than the task ({', '.join(odd[:3]) or 'in another order'})"
        )
    device = pick_device(options.device)
    split = task.split(options.split)
    value = accuracy(delta.net.to(device), split)
    print(f"{options.run}: {value:.4f} of {len(split)} {options.split} pictures right")
    return 0


def predict(options: PredictOptions) -> int:
    """`nettailor predict`."""
    from nettailor.delta import load
    from nettailor.opening import pick_device
    from nettailor.predicting import predict as answers

    delta = load(options.run, _backbone(options))
    device = pick_device(options.device)
    bad = 0
    width = max(len(image) for image in options.images)
    for image, answer in zip(options.images, answers(delta, options.images, max(1, options.top), device), strict=True):
        if isinstance(answer, str):
            print(f"nettailor: {answer}", file=sys.stderr)
            bad += 1
        else:
            print(f"{image:<{width}}  " + "  ".join(f"{label} {chance:.3f}" for label, chance in answer))
    return 1 if bad else 0


def show(options: ShowOptions) -> int:
    """`nettailor show`."""
    from rich.console import Console

    from nettailor.delta import load
    from nettailor.drawing import draw_svg, graph_table
    from nettailor.files import write_text
    from nettailor.graph import BlockGraph

    delta = load(options.run, _backbone(options))
    graph, backbone = BlockGraph.of(delta.net), delta.net.backbone
    Console(highlight=False).print(graph_table(graph, backbone, delta.description.task))
    if options.svg is not None:
        write_text(options.svg, draw_svg(graph, backbone, delta.description.task))
        print(f"drawn into {options.svg}")
    return 0


def _as_tree(options: AdaptOptions | CompareOptions) -> dict[str, Any]:
    """The short options as a tree of recipe settings; what was not given is not in it."""
    tree: dict[str, dict[str, Any]] = {
        "data": {"source": options.data, "skip_bad": getattr(options, "skip_bad", None) or None},
        "backbone": {"name": options.backbone, "weights": options.weights},
        "machine": {"device": options.device},
    }
    given: dict[str, Any] = {s: {k: v for k, v in keys.items() if v is not None} for s, keys in tree.items()}
    given = {section: keys for section, keys in given.items() if keys}
    seed = getattr(options, "seed", None)
    return given if seed is None else {**given, "seed": seed}


def _backbone(options: EvalOptions | PredictOptions | ShowOptions) -> Backbone | None:
    """The backbone that the options or the run's recipe name; None where its name in the delta will do."""
    from nettailor.delta import delta_folder, load_described, read_description
    from nettailor.extensions import find_form
    from nettailor.recipe import read_recipes

    if options.proxies is not None:
        find_form(options.proxies)
    folder = delta_folder(options.run)
    description = read_description(folder)
    weights = options.weights
    recipe_file = folder.parent / "recipe.yaml"
    if weights is None and options.backbone is None and recipe_file.is_file():
        weights = read_recipes(recipe_file)[0].backbone.weights
    if options.backbone is None and (weights is None or ":" in description.backbone.name):
        return None  # `load` finds it by its name, or says why a name of code has to be given by hand
    return load_described(options.backbone or description.backbone.name, weights, description.input)


VERBS: dict[str, tuple[type, Callable[[Any], int]]] = {
    "adapt": (AdaptOptions, adapt),
    "prune": (PruneOptions, prune),
    "compare": (CompareOptions, compare),
    "eval": (EvalOptions, evaluate),
    "predict": (PredictOptions, predict),
    "show": (ShowOptions, show),
    "blocks": (BlocksOptions, blocks),
    "profile": (ProfileOptions, profile),
    "recipes": (RecipesOptions, recipes),
}
