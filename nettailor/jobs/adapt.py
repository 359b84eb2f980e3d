"""The main job: one backbone, one task, one method, a network on disk.

    recipe -> Context (backbone, task, run) -> method -> Trained -> delta, report

Every stage leaves a checkpoint after each epoch, so the same call goes on where it was stopped and ends with the same
report.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from blocks import Backbone
from nettailor.artifacts import delta
from nettailor.artifacts.confusion import Confusion
from nettailor.artifacts.model_card import model_card
from nettailor.artifacts.pareto import front_of
from nettailor.artifacts.report import Report
from nettailor.artifacts.run_folder import RunFolder
from nettailor.files import write_text
from nettailor.jobs.context import open_context, resolve
from nettailor.jobs.measure import measure
from nettailor.jobs.recipe import Recipe
from nettailor.methods._protocol import Context, Trained
from nettailor.progress import Display
from nettailor.pruning.graph import BlockGraph
from nettailor.views.plots import draw_confusion, draw_front, has_matplotlib, need_matplotlib
from nettailor.views.tensorboard.results import Results, write_results


def adapt(
    recipe: Recipe,
    out: Path,
    display: Display | None = None,
    backbone: Backbone | None = None,
    begin_with: Path | None = None,
) -> Report:
    """Adapt a backbone to one task, or go on with a run that was stopped; a finished run is not run again.

    Args:
        recipe: the method that it names is run.
        out: the run's folder.
        backbone: loaded already, as the recipe names it.
        begin_with: folder of another run's nets (`RunFolder.nets`): stages that are finished there are not run again. That
            run's recipe must agree with this one in all that those stages read.

    Raises:
        NettailorError: anything a user can mend; what was on disk before is still there.
    """
    display = display or Display()
    recipe = resolve(recipe)
    folder = RunFolder(out)
    if (finished := folder.look(recipe)) is not None:
        display.say(f"{out}: finished already; nothing to run")
        folder.checkpoints.remove()  # left there if the run was killed just after its last write
        return finished
    if recipe.prune.front:
        need_matplotlib()
    with open_context(recipe, folder, display, backbone, begin_with) as context:
        trained = recipe.find_method().train(context)
        with context.run.timed("measure"):
            report = _write(recipe, context, trained)
        report.write(folder.report)  # the last write: from here on the run is finished
        folder.checkpoints.remove()
    return report


def _write(recipe: Recipe, context: Context, trained: Trained) -> Report:
    """Write the delta, predictions, the networks that another run may begin with, and the curve; measure everything."""
    folder, task, run = context.folder, context.task, context.run
    delta.save(trained.net, folder.delta, task.name, task.classes, recipe.method.name, recipe.as_dict())
    report, said = measure(context, trained)
    said.write(folder.predictions)
    confusion = Confusion.of(task.name, task.classes, said.test.labels, said.test.compact)
    confusion.write(folder.confusion)
    if has_matplotlib():
        draw_confusion(confusion, folder.confusion.with_suffix(".png"))
    write_text(folder.delta / delta.CARD, model_card(report, task.classes))
    if trained.beside is not None:
        trained.beside.write(folder.source)
    front = None if trained.front is None else front_of(report, trained.front())
    if front is not None:
        front.write(folder.front)
        draw_front(front, folder.front.with_suffix(".png"))
    fixed = report.compact.macs - BlockGraph.of(trained.net).macs()
    results = Results({}, report, confusion, front, fixed_macs=fixed, step=run.recorder.step)
    write_results(folder.root, results)
    run.seconds.write()
    for stage in trained.keep:
        folder.checkpoints.hand_over(stage, folder.nets, run.seconds.totals.get(stage, 0.0))
    return replace(report, seconds=dict(run.seconds.totals))
