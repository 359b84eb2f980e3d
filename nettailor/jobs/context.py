"""How every job on a task begins: the recipe made complete, device, backbone, pictures, folder.

recipe -> resolve -> open_context(recipe, folder) -> Context(backbone, task, run)
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch

from blocks import Backbone
from nettailor.artifacts.run_folder import RunFolder
from nettailor.backbones.load import load_backbone
from nettailor.data.task import Task, check_name, load_task
from nettailor.environment import pick_device
from nettailor.errors import UsageError
from nettailor.jobs.recipe import Recipe
from nettailor.progress import Display
from nettailor.training.loop import Run
from nettailor.training.tensorboard import event_writer


@dataclass(frozen=True)
class Context:
    """What a job works on. `data_hash` is the pictures' fingerprint."""

    backbone: Backbone
    task: Task
    run: Run
    data_hash: str


@contextmanager
def open_context(
    recipe: Recipe,
    folder: RunFolder,
    display: Display,
    backbone: Backbone | None = None,
    begin_with: Path | None = None,
) -> Iterator[Context]:
    """Load what a resolved recipe names, and make the folder its own: no other process works on it until the end of the
    `with`, so all that is written into it is written inside.

    Args:
        backbone: loaded already, as the recipe names it.
        begin_with: folder of another run's nets, whose finished stages are not run again.

    Raises:
        NettailorError: anything a user can mend.
    """
    machine = recipe.machine
    if machine.threads is not None:
        torch.set_num_threads(machine.threads)
    device = pick_device(machine.device)
    backbone = backbone or load_backbone(**asdict(recipe.backbone))
    display.say(f"reading {recipe.data.source} ...")
    task = load_task(recipe.data, backbone.spec, recipe.seed, recipe.task)
    for problem in task.skipped:
        display.say(f"left out: {problem}")
    with ExitStack() as stack:
        if not stack.enter_context(folder.owned(recipe)):
            display.say(f"{folder.root}: its file system has no locks; let no second process work on it")
        data_hash = folder.begin(recipe, task)
        if begin_with is not None:
            folder.checkpoints.take_over(begin_with)
        display.say(
            f"{task.name}: {len(task.train)} pictures to train on, {len(task.val)} to choose by, {len(task.test)} to test "
            f"on, {len(task.classes)} classes, over {backbone.name} ({backbone.depth} universal blocks)"
        )
        writer = stack.enter_context(event_writer(folder.root))
        run = Run(
            recipe.seed,
            device,
            machine.precision,
            recipe.data,
            folder.checkpoints,
            display,
            writer.add_scalar,
            writer.add_text,
        )
        yield Context(backbone.to(device), task, run, data_hash)


def resolve(recipe: Recipe) -> Recipe:
    """The recipe with its task's name and absolute paths filled in, so that running it again repeats the run."""
    data, backbone = recipe.data, recipe.backbone
    if recipe.cost_table is not None and recipe.cost != "latency":
        raise UsageError("cost_table: is read where cost is latency; add cost=latency, or leave it out")
    if recipe.prune.how == "budget" and recipe.prune.budget is None:
        raise UsageError("prune.budget: is missing; how=budget prunes down to it, for example prune.budget=0.5")
    path = Path(data.source).expanduser()
    name = recipe.task or (path.resolve().name if path.is_dir() else path.stem if path.is_file() else data.source)
    if path.exists() and data.source != "digits":
        data = replace(data, source=str(path.resolve()))
    if backbone.weights is not None and (Path(backbone.weights).suffix or Path(backbone.weights).exists()):
        backbone = replace(backbone, weights=str(Path(backbone.weights).expanduser().resolve()))
    table = recipe.cost_table and str(Path(recipe.cost_table).expanduser().resolve())
    named = check_name(recipe.task or Path(name).name)
    return replace(recipe, task=named, data=data, backbone=backbone, cost_table=table)
