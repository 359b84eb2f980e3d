"""The main job: one backbone, one task, a compact network on disk.

    recipe -> Task -> Backbone -> teacher -> student -> train -> BlockGraph -> prune -> recover -> compact -> delta, report

Every stage leaves a checkpoint after each epoch, so the same call goes on where it was stopped and ends with the same
report. `adapt_all` runs several recipes one after the other over the same backbone.
"""

from __future__ import annotations

from pathlib import Path

from blocks import Backbone, compact
from nettailor.artifacts import delta
from nettailor.artifacts.cost_table import read_costs
from nettailor.artifacts.model_card import model_card
from nettailor.artifacts.pareto import front_of
from nettailor.artifacts.report import (
    Report,
)
from nettailor.artifacts.run_folder import RunFolder
from nettailor.files import write_text
from nettailor.jobs.context import open_context, resolve
from nettailor.jobs.measure import measure, measure_front
from nettailor.jobs.recipe import Recipe
from nettailor.methods.nettailor import _own_cost_table, _train_all
from nettailor.progress import Display
from nettailor.pruning.graph import BlockGraph
from nettailor.training.proxy_forms import find_form
from nettailor.views.plots import draw_front, need_matplotlib


def adapt(
    recipe: Recipe,
    out: Path,
    display: Display | None = None,
    backbone: Backbone | None = None,
    begin_with: Path | None = None,
) -> Report:
    """Adapt a backbone to one task, or go on with a run that was stopped; a finished run is not run again.

    Args:
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
    find_form(recipe.student.proxies)
    if recipe.prune.front:
        need_matplotlib()
    table = None if recipe.cost_table is None else read_costs(Path(recipe.cost_table))
    with open_context(recipe, folder, display, backbone, begin_with) as job:
        if recipe.cost == "latency" and table is None:
            table = _own_cost_table(recipe, job, folder)
        trained = _train_all(recipe, job, table)
        net = compact(trained.student)
        job.run.write_text("graph", _as_markdown(trained.recovered.graph))
        task = job.task
        delta.save(net, folder.delta, task.name, task.classes, settings=recipe.as_dict())
        report = measure(recipe, job, trained, net, folder)
        write_text(folder.delta / delta.CARD, model_card(report, task.classes))
        for stage in ("teacher", "student"):
            folder.checkpoints.hand_over(stage, folder.nets)
        if recipe.prune.front:
            front = front_of(report, measure_front(trained.student, trained.pruned, task))
            front.write(folder.front)
            draw_front(front, folder.front.with_suffix(".png"))
        report.write(folder.report)  # the last write: from here on the run is finished
        folder.checkpoints.remove()
    return report


def _as_markdown(graph: BlockGraph) -> str:
    return "    " + str(graph).replace("\n", "\n    ")
