"""The main job: one backbone, one task, a compact network on disk.

    recipe -> Task -> Backbone -> teacher -> student -> train -> BlockGraph -> prune -> recover -> compact -> delta, report

Every stage leaves a checkpoint after each epoch, so the same call goes on where it was stopped and ends with the same
report. `adapt_all` runs several recipes one after the other over the same backbone.
"""

from __future__ import annotations

import traceback
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from blocks import Backbone, CompactNet, TailoredNet, compact, fold
from blocks.complexity import is_approximate
from blocks.ruler import count_params, tensors_of
from nettailor import delta
from nettailor.backbones import load_backbone
from nettailor.card import model_card
from nettailor.checkpoint import restore
from nettailor.costs import CostTable, measure_costs, prices, read_costs
from nettailor.display import Display
from nettailor.errors import DataProblem, NettailorError
from nettailor.extensions import find_form
from nettailor.files import write_text
from nettailor.fit import Fitted, accuracy
from nettailor.front import draw_front, front_of, measure_front
from nettailor.graph import BlockGraph
from nettailor.losses import expected_complexity
from nettailor.opening import Opened, opened, resolve
from nettailor.plots import need_matplotlib
from nettailor.pruning import Pruned, prune, snapshot
from nettailor.recipe import Recipe
from nettailor.recovery import Recovered, recover_leanest
from nettailor.report import (
    CompactFigures,
    PruneFigures,
    RemovedFigures,
    Report,
    StudentFigures,
    TeacherFigures,
    backbone_figures,
    data_figures,
    device_name,
    latencies_ms,
)
from nettailor.runfolder import RunFolder
from nettailor.training import finetune, plan_of, tailor, train


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
    with opened(recipe, folder, display, backbone, begin_with) as job:
        if recipe.cost == "latency" and table is None:
            table = _own_cost_table(recipe, job, folder)
        trained = _train_all(recipe, job, table)
        net = compact(trained.student)
        job.run.write_text("graph", _as_markdown(trained.recovered.graph))
    task = job.task
    delta.save(net, folder.delta, task.name, task.classes, settings=recipe.as_dict())
    report = _measure(recipe, job, trained, net, folder)
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


def adapt_all(
    recipes: list[Recipe], parent: Path, display: Display | None = None
) -> tuple[list[Report], dict[str, str]]:
    """Adapt to several tasks, one after the other; a task that fails does not stop the others.

    Returns:
        The reports of the tasks that ended well, and what went wrong with each other task, by its name.
    """
    display = display or Display()
    names = [resolve(recipe).task or "" for recipe in recipes]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise DataProblem(f"tasks: two are called {twice[0]!r}; give them names of their own (task: NAME)")
    reports: list[Report] = []
    failed: dict[str, str] = {}
    loaded: dict[object, Backbone] = {}
    for number, (recipe, name) in enumerate(zip(recipes, names, strict=True), 1):
        display.say(f"\n{name} ({number} of {len(recipes)})")
        try:
            choice = recipe.backbone
            if choice not in loaded:
                loaded[choice] = load_backbone(**asdict(choice))
            reports.append(adapt(recipe, parent / name, display, loaded[choice]))
        except NettailorError as error:
            failed[name] = str(error)
            display.say(f"{name} failed: {error}")
        except Exception as error:  # a fault of ours in one task must not cost the user the other tasks
            failed[name] = f"{type(error).__name__}: {error}"
            display.say(f"{name} failed:\n{traceback.format_exc()}")
    return reports, failed


@dataclass
class _Trained:
    """The nets of a run, and what its stages measured."""

    teacher: Backbone
    student: TailoredNet
    unpruned: dict[str, torch.Tensor]
    pruned: Pruned
    recovered: Recovered
    stages: dict[str, Fitted]
    expected: float


def _own_cost_table(recipe: Recipe, job: Opened, folder: RunFolder) -> CostTable:
    """The milliseconds that a run counts in; measured once and kept, so that a run that goes on counts as it did."""
    if not folder.costs.is_file():
        job.run.display.say("measuring every block and proxy on this device ...")
        plan = plan_of(recipe.student)
        measure_costs(job.backbone, plan, 1, torch.get_num_threads(), job.run.device).write(folder.costs)
    return read_costs(folder.costs)


def _train_all(recipe: Recipe, job: Opened, table: CostTable | None) -> _Trained:
    backbone, task, run = job.backbone, job.task, job.run
    student = tailor(backbone, task, recipe.student, run)
    student.price_by(
        prices(student, recipe.cost, table, recipe.cost_table or "costs.json")
    )  # refused before any training
    teacher = finetune(backbone, task, recipe.teacher, run)
    train(student, teacher, task, recipe.student, run)
    unpruned = snapshot(student)
    expected = float(expected_complexity(student, student.gates().detach(), recipe.student.complexity))
    pruned = prune(student, teacher, task, recipe.prune, recipe.student, run)
    recovered = recover_leanest(student, teacher, task, pruned, recipe.recover, recipe.prune.drop, recipe.student, run)
    return _Trained(teacher, student, unpruned, pruned, recovered, run.fitted, expected)


def _measure(recipe: Recipe, job: Opened, trained: _Trained, net: CompactNet, folder: RunFolder) -> Report:
    """Read the test split, once for each of teacher, student and compact net, and count everything."""
    backbone, task, device = job.backbone, job.task, job.run.device
    teacher, student, pruned = trained.teacher, trained.student, trained.pruned
    graph = BlockGraph.of(net)
    cost, whole = net.cost(), backbone.cost
    teacher_cost = student.fixed_cost()
    for block in backbone.block_costs:
        teacher_cost += block
    tested = {"teacher": accuracy(teacher, task.test)}
    tested["compact"] = accuracy(net, task.test)
    compact_val = accuracy(net, task.val)
    teacher_ms, compact_ms = latencies_ms([teacher.frozen_copy(), fold(net)], backbone.spec.size, device)
    restore(student.task_tensors(), trained.unpruned, "student")
    tested["student"] = accuracy(student, task.test)
    kept = len(graph.universal())
    return Report(
        task=task.name,
        method="nettailor",
        backbone=backbone_figures(backbone),
        data=data_figures(task, job.data_hash),
        seed=recipe.seed,
        teacher=TeacherFigures(
            tested["teacher"],
            trained.stages["teacher"].judged["val_accuracy"],
            teacher_cost.macs,
            teacher_cost.params,
            teacher_ms,
        ),
        student=StudentFigures(
            tested["student"],
            trained.stages["student"].judged["val_accuracy"],
            trained.expected,
            is_approximate(recipe.student.complexity, recipe.student.skips),
            teacher_cost.macs + sum(student.costs[path].macs for path in student.paths if not path.is_universal),
            count_params(tensor for name, tensor in tensors_of(student).items() if not name.startswith("gates.")),
            count_params(tensor for name, tensor in student.task_tensors().items() if not name.startswith("gates.")),
        ),
        compact=CompactFigures(
            test_accuracy=tested["compact"],
            val_accuracy=compact_val,
            macs=cost.macs,
            params=cost.params,
            task_params=sum(tensor.numel() for tensor in net.task_tensors().values()),
            task_bytes=delta.task_bytes(folder.delta),
            latency_ms=compact_ms,
            universal_blocks_kept=kept,
            proxies_kept=len(graph.proxies()),
        ),
        removed=RemovedFigures(1 - cost.macs / whole.macs, 1 - cost.params / whole.params, 1 - kept / backbone.depth),
        prune=PruneFigures(
            recipe.prune.how,
            recipe.prune.drop,
            compact_val >= pruned.least,
            [vars(trial) for trial in pruned.trials],
            recipe.cost,
            [vars(attempt) for attempt in trained.recovered.attempts],
        ),
        epochs={
            "teacher": recipe.teacher.epochs,
            "student": recipe.student.epochs,
            "prune": pruned.epochs,
            "recover": trained.recovered.epochs,
        },
        seconds={
            "teacher": trained.stages["teacher"].seconds,
            "student": trained.stages["student"].seconds,
            "prune": pruned.seconds,
            "recover": trained.recovered.seconds,
        },
        device=device_name(device),
    )


def _as_markdown(graph: BlockGraph) -> str:
    return "    " + str(graph).replace("\n", "\n    ")
