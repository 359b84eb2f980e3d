"""`nettailor eval`: accuracy from a delta."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from nettailor.cli.inputs import DEVICES, backbone_of
from nettailor.cli.options import option, position
from nettailor.errors import FileError, UsageError

if TYPE_CHECKING:
    pass


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


def evaluate(options: EvalOptions) -> int:
    """`nettailor eval`."""
    from dataclasses import replace

    from nettailor.artifacts.delta import delta_folder, load
    from nettailor.data.config import DataConfig
    from nettailor.data.task import load_task
    from nettailor.environment import pick_device
    from nettailor.jobs.recipe import parse_recipe, read_recipes
    from nettailor.training.loop import accuracy

    delta = load(options.run, backbone_of(options))
    recipe = parse_recipe(delta.description.settings, str(options.run)) if delta.description.settings else None
    recipe_file = delta_folder(options.run).parent / "recipe.yaml"
    if recipe_file.is_file():
        (recipe,) = read_recipes(recipe_file)
    if options.data is not None:
        config = DataConfig(source=options.data)
    elif recipe is not None:
        config = recipe.data
    else:
        raise UsageError(f"{options.run}: says nothing of its pictures; name some with --data")
    if options.skip_bad:
        config = replace(config, skip_bad=True)
    task = load_task(config, delta.net.spec, recipe.seed if recipe else 0)
    if task.classes != delta.classes:
        odd = sorted(set(task.classes) ^ set(delta.classes))
        raise FileError(config.source, f"has other classes than the task ({', '.join(odd[:3]) or 'in another order'})")
    device = pick_device(options.device)
    split = task.split(options.split)
    value = accuracy(delta.net.to(device), split)
    print(f"{options.run}: {value:.4f} of {len(split)} {options.split} pictures right")
    return 0
