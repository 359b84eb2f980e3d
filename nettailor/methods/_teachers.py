"""What a student learns from: the fine-tuned backbone, a network of any other method, or that of a finished run.

    teacher.method, teacher.settings -> that method's train -> its compact net -+
    teacher.run -> its delta ---------------------------------------------------+-> Taught -> a student's method
    neither -> finetune --------------------------------------------------------+

A method is asked for its network as in a run of its own: same settings, same seed, so the same bits. All its stages count as
the stage `teacher`; their checkpoints lie in `checkpoint/teacher/` until its network is settled as `checkpoint/teacher`.
"""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, TypeVar

from blocks import Backbone, CompactNet
from blocks.teachers import gives_activations
from nettailor import methods
from nettailor.artifacts import delta
from nettailor.artifacts.delta import plan_tree
from nettailor.artifacts.description import PlanFields, read_plan
from nettailor.artifacts.hub import is_hub_name
from nettailor.artifacts.run_folder import RunFolder
from nettailor.config.loading import plain
from nettailor.data.task import Task
from nettailor.errors import FileError, UsageError
from nettailor.files import read_json
from nettailor.methods._protocol import Context, Sections, Taught, teacher_settings
from nettailor.pruning.folds import Teach
from nettailor.pruning.graph import BlockGraph, GraphFields
from nettailor.schema import checked
from nettailor.training.checkpoint import Checkpoints, restore
from nettailor.training.config import StudentConfig, TeacherConfig, TrainingConfig
from nettailor.training.finetuning import STAGE, finetune
from nettailor.training.loop import accuracy
from nettailor.training.run import Fitted, Run
from nettailor.training.targets import matches

PLAIN = "finetune"
RECIPE = TypeVar("RECIPE", bound=Sections)


def resolved_teacher(config: TeacherConfig) -> TeacherConfig:
    """The section `teacher` with all settings of its method and absolute paths, as a resolved recipe has it.

    Raises:
        UsageError: there is no such method, or it has no such settings.
    """
    if config.run is not None:
        return config if is_hub_name(config.run) else replace(config, run=str(Path(config.run).expanduser().resolve()))
    own = teacher_settings(config).resolved()
    if own == methods.find(PLAIN).settings(name=PLAIN):
        return config.plainly()
    whole = plain(asdict(own))
    return replace(config, method=whole.pop("name"), settings=whole)


def recipe_of_teacher(recipe: Sections) -> Sections:
    """The recipe by which another method trains a teacher: its settings under `method`, all other sections as they are."""
    config, student = recipe.teacher, replace(recipe.student, shared_prefix=0)
    return _with(recipe, method=teacher_settings(config), teacher=config.plainly(), student=student)


def check_teacher(recipe: Sections) -> None:
    """Refuse a teacher before anything is loaded.

    Raises:
        UsageError: there is none of that kind, or the recipe's method can't learn from it.
    """
    config, method = recipe.teacher, methods.find(recipe.method.name)
    if config.is_plain:
        return
    key = "teacher.run" if config.run is not None else "teacher.method"
    if not method.wants_teacher(recipe.method):
        raise UsageError(f"{key}: {method.name} learns from no teacher with these settings; leave it out")
    if not method.any_teacher:
        raise UsageError(f"{key}: {method.name} works on its teacher, which has to be the fine-tuned backbone")
    if config.run is not None:
        if config.method != PLAIN or config.settings:
            raise UsageError("teacher.run: is a finished network; leave out teacher.method and teacher.settings")
        return
    teaching, own = methods.find(config.method, "teacher.method"), teacher_settings(config)
    if teaching.name == method.name:
        raise UsageError(f"teacher.method: is {method.name} itself; for such a teacher, give teacher.run a run of it")
    if teaching.wants_teacher(own):
        raise UsageError(
            f"teacher.method: {teaching.name} learns from a teacher itself; give teacher.run a finished run of it"
        )
    teaching.check(recipe_of_teacher(recipe))


def check_matching(recipe: Sections) -> None:
    """Refuse a student that is to match activations which its teacher's method does not give.

    Raises:
        UsageError: it is.
    """
    config = recipe.teacher
    if not recipe.student.matching_weight or config.run is not None or config.is_plain:
        return
    if not methods.find(config.method, "teacher.method").gives_activations(teacher_settings(config)):
        raise UsageError(_answers_alone(f"teacher.method: {config.method}"))


def check_teacher_with(recipe: Sections, backbone: Backbone, task: Task, untrained: bool = False) -> None:
    """Refuse a teacher for this backbone and this task, before anything is written.

    Args:
        untrained: the backbone's weights are still to be made, so that they say nothing.

    Raises:
        UsageError: it is of other classes or another backbone, has seen pictures that choose or test here, or can't be had.
    """
    config = recipe.teacher
    if config.is_plain:
        return
    if config.run is None:
        method, own = methods.find(config.method), recipe_of_teacher(recipe)
        method.check_with(own, backbone, task)
        if not untrained:
            method.check_weights(own, backbone)
        return
    net = _read_run(config.run, backbone, task).net
    if recipe.student.matching_weight and not gives_activations(net):
        raise UsageError(_answers_alone(f"teacher.run: {config.run}"))
    _check_pictures(config.run, task)


def teach(context: Context, gives: tuple[str, ...] = ("answers",)) -> Taught:
    """The network that a recipe's method learns from, trained or read: stage `teacher`.

    Args:
        gives: what the method takes of it, for the report.

    Raises:
        UsageError: activations are to be matched that it does not have.
    """
    recipe, run = context.recipe, context.run
    config = recipe.teacher
    with run.timed(STAGE):
        if config.is_plain:
            return Taught(finetune(context.backbone, context.task, config, run), PLAIN, gives)
        net, method = _kept(context) or _made(context)
    if "activations" in gives and not gives_activations(net):
        raise UsageError(_answers_alone(f"teacher: {method}"))
    _say(run, method, net, gives)
    return Taught(net, method, gives)


def stages_of_teacher(recipe: Sections) -> int:
    """About how many passes a teacher takes."""
    config = recipe.teacher
    if config.is_plain:
        return config.epochs
    return 0 if config.run is not None else sum(methods.find(config.method).stages(recipe_of_teacher(recipe)).values())


def taken_by(student: StudentConfig) -> tuple[str, ...]:
    """What a pruned student takes of its teacher."""
    taken = {
        "start": student.start == "teacher" and student.shared_prefix == 0,
        "activations": matches(student),
        "answers": student.distill_weight > 0,
        "drop": True,
    }
    return tuple(name for name, is_taken in taken.items() if is_taken)


def teach_in_folds(context: Context) -> Teach | None:
    """How a judge over folds trains its teachers: by the same method, at the rate that the run's teacher has.

    None where the teacher is a finished run, which has seen pictures of every fold.
    """
    config = context.recipe.teacher
    if config.is_plain:
        return finetune
    if config.run is not None:
        return None
    rate = context.run.fitted[STAGE].metrics.get("rate")

    def teach_fold(backbone: Backbone, task: Task, _: TeacherConfig, run: Run) -> CompactNet:
        own = replace(run, seconds=run.seconds.within("folds"))  # shares `fitted` with the judge's run
        recipe = _with(context.recipe, teacher=replace(config, lr=rate))
        with own.timed(STAGE):
            return _made(replace(context, recipe=recipe, backbone=backbone, task=task, run=own))[0]

    return teach_fold


def _answers_alone(what: str) -> str:
    return f"{what} has not all activations of the backbone: it teaches by its answers alone; set student.matching_weight=0"


def _say(run: Run, method: str, net: CompactNet, gives: tuple[str, ...]) -> None:
    if gives == ("drop",):
        run.display.say(f"teacher    {method} teaches nothing: what the network may lose is counted against it")
    elif not gives_activations(net):
        run.display.say(f"teacher    {method} has not all activations of the backbone: it teaches by its answers alone")


def _made(context: Context) -> tuple[CompactNet, str]:
    """Train a teacher by its method, or read a finished run's; settled in the checkpoints, and in the figures."""
    run, task, config = context.run, context.task, context.recipe.teacher
    if config.run is not None:
        read = _read_run(config.run, context.backbone, task)
        net, method, passes, found = read.net, read.description.method, 0.0, None
        rate = _rate_of(config.run, read.description.settings, run.training)
    else:
        inner = replace(
            run,
            checkpoints=_inside(run),
            fitted={},
            seconds=run.seconds.within(STAGE),
            rate=None,
            targets=None,
            shared={},
        )
        trained = methods.find(config.method).train(
            replace(context, recipe=recipe_of_teacher(context.recipe), run=inner)
        )
        net, method, passes, rate = trained.net, config.method, sum(trained.epochs.values()), inner.rate
        searched = [fitted.metrics["rate"] for stage, fitted in inner.fitted.items() if stage.endswith("-rate")]
        found = searched[-1] if searched else config.lr
    net = net.to(run.device).requires_grad_(False).eval()
    metrics = {"val_accuracy": accuracy(net, task.val), **({} if found is None else {"rate": found})}
    notes = {
        "method": method,
        "plan": plan_tree(net),
        "graph": BlockGraph.of(net).to_json(),
        "metrics": metrics,
        "epoch": round(passes),
        "rate": rate,
        "seconds": 0.0,
    }
    run.checkpoints.save(STAGE, {f"net.{name}": tensor for name, tensor in net.task_tensors().items()}, notes)
    _inside(run).remove()
    _note(run, notes)
    return net, method


def _kept(context: Context) -> tuple[CompactNet, str] | None:
    """A teacher that is settled already; None where there is none yet.

    Raises:
        FileError: it is not one of this run.
    """
    run, where = context.run, Path("checkpoint") / f"{STAGE}.safetensors"
    found = run.checkpoints.load(STAGE)
    if found is None:
        return None
    tensors, notes = found
    if "plan" not in notes:
        raise FileError(where, "is a fine-tuned backbone and no teacher of this recipe; remove the run's folder")
    fields = checked(PlanFields, notes["plan"], where, strict=True)
    graph = checked(GraphFields, notes["graph"], where, strict=True)
    net = CompactNet(context.backbone, read_plan(fields, graph, len(context.task.classes), where)).to(run.device)
    restore(net.task_tensors(), {name.removeprefix("net."): tensor for name, tensor in tensors.items()}, where)
    _note(run, notes)
    return net, str(notes["method"])


def _note(run: Run, notes: dict[str, Any]) -> None:
    """Tell the run what later stages read of its teacher.

    The rate stays open where the teacher has been trained by another optimiser, or not by a rate that fits a student.
    """
    run.fitted[STAGE] = Fitted(dict(notes["metrics"]), notes["seconds"], notes["epoch"])
    run.rate = notes["rate"]


def _inside(run: Run) -> Checkpoints:
    """Where the stages of a teacher's method lie."""
    folder = run.checkpoints.folder
    return Checkpoints(None if folder is None else folder / STAGE)


def _read_run(where: str, backbone: Backbone, task: Task) -> delta.Delta:
    """The network of a finished run.

    Raises:
        UsageError: it is of another backbone or of other classes.
    """
    try:
        found = delta.load(where, backbone)
    except FileError as error:
        raise UsageError(f"teacher.run: {error}") from error
    if found.classes != task.classes:
        odd = sorted(set(found.classes) ^ set(task.classes))
        which = f"{odd[0]!r} is in one of them alone" if odd else "their order differs"
        raise UsageError(
            f"teacher.run: {where} tells {len(found.classes)} classes apart, {task.name} has {len(task.classes)}: {which}"
        )
    return found


def _rate_of(run: str, settings: dict[str, Any], training: TrainingConfig) -> float | None:
    """The peak rate that a finished run trained its stage `teacher` at, configured or found.

    None for a delta by itself, without such a stage, and by another optimiser, as of a version that named none.

    Args:
        settings: of that run, as its delta has them.
    """
    nets = Checkpoints(_folder_of(run).nets)
    if not nets.has(STAGE) or settings.get("training", {}).get("optimizer") != training.optimizer:
        return None
    found = nets.load(f"{STAGE}-rate")
    return settings["teacher"]["lr"] if found is None else float(found[1]["rate"])


def _folder_of(run: str) -> RunFolder:
    """The folder of a finished run, which may be given as that of its delta."""
    folder = delta.delta_folder(run)
    return RunFolder(folder.parent if folder.name == RunFolder(folder).delta.name else folder)


def _check_pictures(run: str, task: Task) -> None:
    """Refuse a teacher that was trained on pictures which choose or test here, as far as its run says which it saw.

    Raises:
        UsageError: it was.
    """
    record = _folder_of(run).split
    if not record.is_file():
        return  # a delta by itself
    tree = read_json(record)
    seen = {split: _names_in(tree, split) for split in ("train", "val", "test")}
    if not set(task.test.names) <= set().union(*seen.values()):
        return  # other pictures
    if both := seen["train"] & {*task.val.names, *task.test.names}:
        raise UsageError(
            f"teacher.run: {run} was trained on {len(both)} pictures that choose or test here; give it a run of the same "
            "seed and the same data section"
        )


def _names_in(tree: Any, split: str) -> set[str]:
    """The pictures of one split of a run's `split.json`: split -> class -> names."""
    by_class = tree.get(split) if isinstance(tree, dict) else None
    lists = by_class.values() if isinstance(by_class, dict) else ()
    return {str(name) for names in lists if isinstance(names, list) for name in names}


def _with(recipe: RECIPE, **changes: Any) -> RECIPE:
    """A recipe with some sections changed; what implements `Sections` is a dataclass."""
    return replace(recipe, **changes)  # type: ignore[type-var]
