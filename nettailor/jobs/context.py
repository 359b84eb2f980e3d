"""How every job on a task begins: the recipe made complete, device, backbone, pictures, folder.

recipe -> resolve -> open_context(recipe, folder) -> Context(backbone, task, run)
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch

from blocks import Backbone
from blocks.memory import keep_large_tensors, leaves_room
from nettailor.artifacts.run_folder import RunFolder
from nettailor.backbones.load import load_backbone
from nettailor.data.probe_pictures import ProbePictures, load_probe
from nettailor.data.source import SourcePictures, load_source
from nettailor.data.task import Task, check_name, data_path, load_task
from nettailor.environment import machine_memory, pick_device
from nettailor.jobs.recipe import DEFAULT_METHOD, Recipe
from nettailor.methods._protocol import BESIDE, Context
from nettailor.methods._teachers import check_teacher, check_teacher_with, resolved_teacher
from nettailor.progress import Display
from nettailor.training.checkpoint import Checkpoints
from nettailor.training.run import Run
from nettailor.training.source_head import check_source_head
from nettailor.training.stage_seconds import StageSeconds
from nettailor.views.tensorboard.events import event_writer
from nettailor.views.tensorboard.hparams import hparams_of
from nettailor.views.tensorboard.recorder import TensorBoard


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
    seconds = StageSeconds(folder.seconds)
    with seconds.stage("prepare"):
        yield from _opened(recipe, folder, display, backbone, begin_with, seconds)


def _opened(
    recipe: Recipe,
    folder: RunFolder,
    display: Display,
    backbone: Backbone | None,
    begin_with: Path | None,
    seconds: StageSeconds,
) -> Iterator[Context]:
    machine = recipe.machine
    if machine.threads is not None:
        torch.set_num_threads(machine.threads)
    device = pick_device(machine.device)
    backbone = backbone or load_backbone(**asdict(recipe.backbone))
    batch = max(recipe.teacher.batch, recipe.student.batch)
    if device.type == "cpu" and leaves_room(backbone.shapes, batch, machine_memory()):
        keep_large_tensors()
    display.say(f"reading {recipe.data.source} ...")
    begun = None if begin_with is None else RunFolder(begin_with.parent).split  # its nets have seen that training split
    record = begun if begun is not None and begun.is_file() else None
    task = load_task(recipe.data, backbone.spec, recipe.seed, recipe.task, record)
    for problem in task.skipped:
        display.say(f"left out: {problem}")
    source, probe = pictures_beside(recipe, task, backbone)
    has_teacher = folder.checkpoints.has("teacher") or Checkpoints(begin_with).has("teacher")
    check_recipe(recipe, backbone, task, has_teacher)
    with ExitStack() as stack:
        if not stack.enter_context(folder.owned(recipe)):
            display.say(f"{folder.root}: its file system has no locks; let no second process work on it")
        data_hash = folder.begin(recipe, task)
        if begin_with is not None:
            for stage, taken in folder.checkpoints.take_over(begin_with).items():
                seconds.add(stage, taken)
        display.say(
            f"{task.name}: {len(task.train)} pictures to train on, {len(task.val)} to choose by, {len(task.test)} to test "
            f"on, {len(task.classes)} classes, over {backbone.name} ({backbone.depth} universal blocks)"
        )
        seconds.write()
        writer = stack.enter_context(event_writer(folder.root))
        hparams = hparams_of(recipe.as_dict())
        recorder = TensorBoard(writer, folder.root, folder.checkpoints_folder, task.name, hparams)
        run = Run(
            recipe.seed,
            device,
            machine.precision,
            recipe.data,
            folder.checkpoints,
            display,
            recorder,
            seconds=seconds,
            training=recipe.training,
        )
        yield Context(recipe, backbone.to(device), task, run, folder, data_hash, source, probe)


def check_recipe(
    recipe: Recipe, backbone: Backbone, task: Task, has_teacher: bool = False, untrained: bool = False
) -> None:
    """Refuse a recipe that this backbone or these pictures don't allow.

    Args:
        has_teacher: it is trained already, so where it came from does not matter any more.
        untrained: the backbone's weights are still to be made, so that they say nothing.

    Raises:
        UsageError: settings that do not go with them.
    """
    method = recipe.find_method()
    method.check_with(recipe, backbone, task)
    if not untrained:
        method.check_weights(recipe, backbone)
    if not has_teacher:
        check_teacher_with(recipe, backbone, task, untrained)


def pictures_beside(
    recipe: Recipe, task: Task, backbone: Backbone
) -> tuple[SourcePictures | None, ProbePictures | None]:
    """Pictures of source and probe, which are refused before anything is written."""
    spec, crop = backbone.spec, backbone.source_crop or backbone.spec.crop
    source = load_source(recipe.source, recipe.data, task, spec, crop, recipe.seed)
    if source is not None:
        check_source_head(backbone, source, recipe.source)
    known = backbone.source_classes or []
    return source, load_probe(recipe.probe, recipe.data, task, source, known, spec, recipe.seed)


def resolve(recipe: Recipe, of_board: bool = False) -> Recipe:
    """The recipe with its task's name and absolute paths filled in, so that running it again repeats the run.

    Args:
        of_board: it also names pictures that only other methods of a board read.
    """
    data, backbone = recipe.data, recipe.backbone
    recipe = replace(recipe, teacher=resolved_teacher(recipe.teacher))
    checked = recipe.without_unread() if of_board else recipe
    checked.find_method().check(checked)
    if not of_board:
        check_teacher(recipe)
    name = data.source
    if (path := data_path(data.source)) is not None:
        name = path.resolve().name if path.is_dir() else path.stem
        data = replace(data, source=str(path.resolve()))
    source, probe = (_resolved(getattr(recipe, section)) for section in BESIDE)
    if backbone.weights is not None and (Path(backbone.weights).suffix or Path(backbone.weights).exists()):
        backbone = replace(backbone, weights=str(Path(backbone.weights).expanduser().resolve()))
    table = recipe.cost_table and str(Path(recipe.cost_table).expanduser().resolve())
    named = check_name(recipe.task or Path(name).name)
    made = replace(recipe, task=named, data=data, backbone=backbone, cost_table=table, source=source, probe=probe)
    return replace(made, method=recipe.method.resolved())


def _resolved(section: Any) -> Any:
    """A section that names pictures, with an absolute path where they lie in a folder or zip."""
    path = None if section.data is None else data_path(section.data)
    return section if path is None else replace(section, data=str(path.resolve()))


def usual_folder(recipe: Recipe) -> Path:
    """Where a resolved recipe is run if no folder is named: `runs/TASK`, or `runs/TASK-METHOD` where that is not the default.

    A run of this very method that lies in `runs/TASK` stays there: version 0.1.0 put every method into it.
    """
    plain, method = Path("runs") / str(recipe.task), recipe.method.name
    file = RunFolder(plain).recipe
    if method == DEFAULT_METHOD or (file.is_file() and Recipe.read(file).method.name == method):
        return plain
    return plain.with_name(f"{plain.name}-{method}")
