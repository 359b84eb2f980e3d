"""NetTailor: proxies beside frozen blocks, gates over both, a teacher to imitate; then pruned and recovered.

    teacher -> student -> train -> BlockGraph -> prune -> recover -> compact

Its settings are the sections teacher, student, prune and recover of the recipe, and `cost`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from blocks import Backbone, TailoredNet, compact
from blocks.complexity import is_approximate
from blocks.counting import count_params, params_of
from blocks.gates import without_gates
from blocks.inherit import is_frozen_backbone
from blocks.teachers import Teacher
from nettailor.artifacts.cost_table import CostTable, cost_model, measure_costs
from nettailor.artifacts.pareto import FrontPoint
from nettailor.artifacts.report import DropFigures, PruneFigures, StudentFigures
from nettailor.data.task import Task
from nettailor.errors import UsageError
from nettailor.methods import names
from nettailor.methods._protocol import Context, Plain, Sections, Trained
from nettailor.methods._teachers import check_matching, stages_of_teacher, taken_by, teach, teach_in_folds
from nettailor.pruning.config import PruneConfig
from nettailor.pruning.criterion import Drop, answered_right
from nettailor.pruning.folds import FoldJudge, Teach, wanted_folds
from nettailor.pruning.prune import Pruned, check_budget
from nettailor.pruning.recover import Recovered
from nettailor.pruning.search import prune_and_recover
from nettailor.pruning.states import Begun, snapshot
from nettailor.pruning.widths import STAGE as WIDTHS
from nettailor.pruning.widths import choose_widths, kept_widths
from nettailor.training import passes
from nettailor.training.checkpoint import restore
from nettailor.training.config import StudentConfig
from nettailor.training.finetuning import frozen_with_probe
from nettailor.training.loop import accuracy
from nettailor.training.losses import expected_complexity
from nettailor.training.passes import UsualPasses
from nettailor.training.proxy_forms import find_form
from nettailor.training.run import Run
from nettailor.training.stages import (
    BEGUN,
    begin,
    check_prefix,
    matching_weight,
    new_student,
    plan_of,
    start_for,
    starts_behind_prefix,
    train,
)

TEACHERS = ("soft", "lwf", "keep_classifier", "grow_depth", "grow_width", "grow_both", "grow_twice", "linear")
"""Methods whose networks boards have as teachers: nettailor+by_soft."""
USUAL_REST = 0.2  # of the paths' cost is about what the networks of docs/board.md keep


@dataclass(frozen=True)
class StageSettings:
    """What a stage reads: its run, with optimiser and schedule, and the sections with the rates that it trains at."""

    run: Run
    student: StudentConfig
    prune: PruneConfig


def _usual(configured: int | None, usual: UsualPasses) -> int:
    """Passes of a stage, before the number of pictures is known."""
    return usual.passes if configured is None else configured


class NetTailor(Plain):
    """The method of this package."""

    name = "nettailor"
    summary = "proxies beside frozen blocks; what the task does not need is pruned"
    needs_teacher = True
    shares_prefix = True
    variants: Mapping[str, Mapping[str, Any]] = {
        "labels": {"student.distill_weight": 0.0, "student.matching_weight": 0.0, "student.start": "backbone"},
        "matching": {"student.matching_weight": 10.0},
        "local": {"student.matching_weight": 10.0, "student.matching": "local"},
        **{f"by_{name}": {"teacher.method": name} for name in TEACHERS if name in names()},
    }
    """labels: the student has no teacher but the pictures' labels; what it may lose is still counted against one."""

    def check(self, recipe: Sections) -> None:
        """Refuse a budget without a size, one fold, a cost table that nothing reads, and a proxy that is not there."""
        super().check(recipe)
        if recipe.cost_table is not None and recipe.cost != "latency":
            raise UsageError("cost_table: is read where cost is latency; add cost=latency, or leave it out")
        if recipe.prune.how == "budget" and recipe.prune.budget is None:
            raise UsageError("prune.budget: is missing; how=budget prunes down to it, for example prune.budget=0.5")
        if recipe.prune.cut == "refit" and recipe.prune.how == "paper":
            raise UsageError("prune.cut: how=paper retrains what a removal leaves; refit is for tolerance and budget")
        if recipe.prune.cut == "refit" and recipe.prune.fade_epochs is not None:
            raise UsageError("prune.fade_epochs: nothing fades with cut=refit; leave it out, or give prune.cut=fade")
        if recipe.prune.folds == 1:
            raise UsageError(
                "prune.folds: one fold leaves nothing to train on; give 2 or more, or 0 for validation alone"
            )
        if recipe.prune.folds and recipe.teacher.run is not None:
            raise UsageError(
                "prune.folds: a teacher that is a finished run is not trained anew for folds; leave one out"
            )
        check_matching(recipe)
        find_form(recipe.student.proxies)
        if recipe.cost_table is not None:
            CostTable.read(Path(recipe.cost_table))

    def stages(self, recipe: Sections) -> dict[str, int]:
        """Four; how many rounds of removals there will be is a guess."""
        prune = recipe.prune
        if prune.how == "paper":
            rounds = len(prune.remove)
        else:
            rest = prune.budget if prune.budget is not None and prune.budget < 1 else USUAL_REST
            rounds = max(1, math.ceil(math.log(rest) / math.log(prune.shrink)))
        return {
            "teacher": stages_of_teacher(recipe),
            **({"start": recipe.teacher.epochs} if starts_behind_prefix(recipe.student) else {}),
            "student": _usual(recipe.student.epochs, passes.STUDENT),
            "prune": rounds * _usual(prune.epochs, passes.ROUND),
            "recover": _usual(recipe.recover.epochs, passes.RECOVERY),
        }

    def train(self, context: Context) -> Trained:
        """Stages teacher, student, prune and recover."""
        recipe, backbone, task, run = context.recipe, context.backbone, context.task, context.run
        check_prefix(backbone, recipe.student)
        forms = kept_widths(run)
        table = _cost_table(context, forms) if recipe.cost == "latency" else None
        with run.timed("student"):
            student = new_student(backbone, task, recipe.student, run)
            student.reform(forms)
            where = recipe.cost_table or "costs.json"
            student.use_cost_model(cost_model(student, recipe.cost, table, where))  # type: ignore[arg-type]
            check_budget(student, recipe.prune)  # refused before any training
        taught = teach(context, taken_by(recipe.student))
        teacher = taught.net
        with run.timed("student"):
            trained = self.student_stage(context, teacher)
            start = start_for(student, teacher, task, recipe.teacher, trained.student, run)
            begin(student, task, trained.student, trained.run, start)
            widths = choose_widths(student, teacher, task, recipe.prune, trained.student, trained.run)
            begun = Begun.of(student, run)
            run.recorder.graph("before-training", student)
        training = _Training(context, student, teacher, trained)
        after = self.prune_stage(context, trained)
        with run.timed("recover"):
            judge = _judge(context, after, frozen_with_probe if _is_probe(recipe, student, teacher) else None)
        pruned, recovered = prune_and_recover(
            student, begun, training, teacher, task, after.prune, recipe.recover, after.student, after.run, judge
        )
        run.recorder.graph("after-pruning", student)
        run.recorder.text("graph", _as_markdown(recovered))
        return Trained(
            net=compact(student),
            teacher=replace(taught, gives=taken_by(trained.student)),
            epochs=_epochs(run, widths, pruned, recovered, judge),
            prune=_prune_figures(recipe, student, teacher, task, pruned, recovered),
            student=training.figures if training.ended is not None else None,
            front=(lambda: _measure_front(student, pruned, task)) if recipe.prune.front else None,
            keep=("teacher", "teacher-rate", "student", "student-rate", WIDTHS, BEGUN),
        )

    def student_stage(self, context: Context, teacher: Teacher) -> StageSettings:
        """How the student is trained: as the recipe says; for methods that train it otherwise."""
        config, run = context.recipe.student, context.run
        weight = matching_weight(config, teacher, context.task, run)
        return StageSettings(run, replace(config, matching_weight=weight), context.recipe.prune)

    def prune_stage(self, context: Context, trained: StageSettings) -> StageSettings:
        """How what pruning leaves is trained, after a student that was trained as `trained` says."""
        recipe = context.recipe
        config = replace(recipe.student, matching_weight=trained.student.matching_weight)
        return StageSettings(context.run, config, recipe.prune)


class _Training:
    """Of a student that has begun, in place, when pruning calls for it: some networks are cut out of an untrained one.

    Attributes:
        ended: what the task owned of it afterwards; None where it was not called for.
    """

    def __init__(self, context: Context, student: TailoredNet, teacher: Teacher, how: StageSettings) -> None:
        self._context, self._student, self._teacher, self._how = context, student, teacher, how
        self.ended: dict[str, torch.Tensor] | None = None

    def __call__(self) -> None:
        run, student, how = self._context.run, self._student, self._how
        with run.timed("student"):
            train(student, self._teacher, self._context.task, how.student, how.run)
            run.recorder.graph("after-training", student)
            self.ended = snapshot(student)

    def figures(self) -> StudentFigures:
        """Read the test split for the student as it was when it had been trained; it is left so."""
        if self.ended is None:
            raise RuntimeError("figures of a student that was not trained")
        context, student, config = self._context, self._student, self._context.recipe.student
        restore(student.task_tensors(), self.ended, "student")
        return StudentFigures(
            accuracy(student, context.task.test),
            context.run.fitted["student"].metrics["val_accuracy"],
            float(expected_complexity(student, student.gates().detach(), config.complexity)),
            is_approximate(config.complexity, config.skips),
            _macs(context.backbone, student),
            params_of(part for name, part in student.named_children() if name != "gates"),
            count_params(without_gates(student.task_tensors()).values()),
        )


def _is_probe(recipe: Sections, student: TailoredNet, teacher: Teacher) -> bool:
    """Whether fine-tuning only did harm, so that the teacher is the frozen backbone with a linear probe."""
    return recipe.teacher.is_plain and is_frozen_backbone(student, teacher)


def _judge(context: Context, after: StageSettings, teach: Teach | None = None) -> FoldJudge | None:
    """A judge over folds where validation pictures are too few, and teachers can be trained for them.

    Args:
        teach: how; as the run's was, if left out.
    """
    recipe, run = context.recipe, context.run
    by = teach or teach_in_folds(context)
    if by is None:
        if wanted_folds(recipe.prune, context.task):
            run.display.say(
                "folds      none: a teacher that is a finished run has seen their pictures; the drop is judged on validation"
            )
        return None
    return FoldJudge.of(context.backbone, context.task, recipe.prune, recipe.teacher, after.student, after.run, by)


def _cost_table(context: Context, forms: Mapping[str, str]) -> CostTable:
    """The milliseconds that a run counts in; its own are measured once and kept for a run that goes on.

    Args:
        forms: of proxies that a finished student has otherwise than its recipe says.
    """
    recipe, folder, run = context.recipe, context.folder, context.run
    if recipe.cost_table is not None:
        return CostTable.read(Path(recipe.cost_table))
    if not folder.costs.is_file():
        run.display.say("measuring every block and proxy on this device ...")
        plan = plan_of(recipe.student)
        table = measure_costs(context.backbone, plan, 1, torch.get_num_threads(), run.device, forms=forms)
        table.write(folder.costs)
    return CostTable.read(folder.costs)


def _epochs(run: Run, widths: float, pruned: Pruned, recovered: Recovered, judge: FoldJudge | None) -> dict[str, float]:
    passes = {
        "teacher": run.passes("teacher"),
        **({"start": run.passes("start")} if "start" in run.fitted else {}),
        **({"student": run.passes("student")} if "student" in run.fitted else {}),
        "prune": pruned.epochs,
        "importance": widths + pruned.importance_passes,
        "recover": recovered.epochs,
    }
    return passes if judge is None else {**passes, "folds": judge.passes}


def _prune_figures(
    recipe: Sections,
    student: TailoredNet,
    teacher: Teacher,
    task: Task,
    pruned: Pruned,
    recovered: Recovered,
) -> PruneFigures:
    allowed = recipe.prune.drop
    if recovered.taken is not None and recovered.taken.folds:
        found = recovered.taken.judged
    else:
        found = Drop.between(*(answered_right(net, task.val) for net in (teacher, student)))
    folds = 0 if recovered.taken is None else recovered.taken.folds
    return PruneFigures(
        recipe.prune.how,
        allowed,
        _is_within(student, task, pruned, recovered),
        [vars(trial) for trial in pruned.trials],
        recipe.cost,
        [vars(attempt) for attempt in recovered.attempts],
        DropFigures(
            found.points, found.error, found.low, found.high, found.pictures, found.can_tell(allowed), folds=folds
        ),
    )


def _is_within(student: TailoredNet, task: Task, pruned: Pruned, recovered: Recovered) -> bool:
    """Whether the network is within the drop, by the stricter rule of recovery where something was recovered."""
    if recovered.attempts:
        return any(attempt.accepted for attempt in recovered.attempts)
    return accuracy(student, task.val) >= pruned.least


def _macs(backbone: Backbone, student: TailoredNet) -> int:
    """MACs of a student with all its paths."""
    blocks = sum(block.macs for block in backbone.block_costs)
    proxies = sum(student.costs[path].macs for path in student.paths if not path.is_universal)
    return student.fixed_cost().macs + blocks + proxies


def _measure_front(student: TailoredNet, pruned: Pruned, task: Task) -> list[FrontPoint]:
    """Count every network that pruning passed, and read the test split once for each; the student is left as it was."""
    before = snapshot(student)
    points = []
    for tensors in pruned.steps:
        restore(student.task_tensors(), tensors, "student")
        net = compact(student)
        cost = net.cost()
        blocks = sum(path.is_universal for path in net.paths)
        points.append(
            FrontPoint(
                macs=cost.macs,
                params=cost.params,
                task_params=sum(tensor.numel() for tensor in net.task_tensors().values()),
                universal_blocks=blocks,
                proxies=len(net.paths) - blocks,
                val_accuracy=accuracy(student, task.val),
                test_accuracy=accuracy(student, task.test),
            )
        )
    restore(student.task_tensors(), before, "student")
    return points


def _as_markdown(recovered: Recovered) -> str:
    return "    " + str(recovered.graph).replace("\n", "\n    ")


METHOD = NetTailor()
