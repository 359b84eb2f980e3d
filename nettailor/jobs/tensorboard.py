"""What TensorBoard shows of a run that is finished, or of a delta alone: `nettailor show RUN --tensorboard DIR`.

RUN (report, confusion, front, recipe, nets/student) -> graphs, pictures, hparams, results
a delta                                              -> the graph after pruning
"""

from __future__ import annotations

from pathlib import Path

from blocks import TailoredNet
from nettailor.artifacts.confusion import Confusion
from nettailor.artifacts.cost_table import CostTable
from nettailor.artifacts.delta import Delta
from nettailor.artifacts.pareto import Front
from nettailor.artifacts.report import Report
from nettailor.artifacts.run_folder import RunFolder
from nettailor.jobs.recipe import Recipe, own_recipe
from nettailor.pruning.graph import BlockGraph
from nettailor.training.checkpoint import Checkpoints, restore
from nettailor.training.stages import plan_of
from nettailor.views.tensorboard.block_graph import Blocks
from nettailor.views.tensorboard.hparams import hparams_of
from nettailor.views.tensorboard.results import Results, write_results


def write_tensorboard(run: Path, delta: Delta, out: Path) -> None:
    """Write what is known.

    Args:
        run: the folder that the user named: a run's, or a delta's.
        delta: loaded from it.
        out: a folder for TensorBoard's `--logdir`.

    Raises:
        FileError: `out` can't be written, or a file of the run is damaged.
    """
    net, recipe, folder = delta.net, own_recipe(run), RunFolder(run)
    if recipe is None or not folder.report.is_file():
        write_results(out, Results({"after-pruning": Blocks.of_compact(net)}))
        return
    report = Report.read(folder.report)
    ms = _milliseconds(recipe, folder)
    graphs, candidates = {}, None
    if report.prune is not None and (student := _student(delta, recipe)) is not None:
        candidates = student.costs
        graphs["before-training"] = Blocks.of_student(student, ms)
        if (trained := Checkpoints(folder.nets).load("student")) is not None:
            own = {name.removeprefix("net."): tensor for name, tensor in trained[0].items() if name.startswith("net.")}
            restore(student.task_tensors(), own, folder.nets / "student.safetensors")
            graphs["after-training"] = Blocks.of_student(student, ms)
    graphs["after-pruning"] = Blocks.of_compact(net, candidates, ms)
    results = Results(
        graphs,
        report,
        Confusion.read(folder.confusion) if folder.confusion.is_file() else None,
        Front.read(folder.front) if folder.front.is_file() else None,
        hparams_of(recipe.as_dict()),
        report.compact.macs - BlockGraph.of(net).macs(),
    )
    write_results(out, results)


def _student(delta: Delta, recipe: Recipe) -> TailoredNet | None:
    """A fresh student like the one that was pruned; None where its proxies are code of the user's, which is not imported.

    Widths of thinned blocks that are gone are not known any more.
    """
    if ":" in recipe.student.proxies:
        return None
    student = TailoredNet(delta.net.backbone, len(delta.classes), plan_of(recipe.student)).eval()
    student.reform({path.key: path.form for path in delta.net.paths if path not in student.paths})
    return student


def _milliseconds(recipe: Recipe, folder: RunFolder) -> dict[str, float]:
    """Milliseconds of paths by key, where the run counted in them."""
    if recipe.cost != "latency":
        return {}
    file = folder.costs if recipe.cost_table is None else Path(recipe.cost_table)
    return {row.key: row.ms for row in CostTable.read(file).paths} if file.is_file() else {}
