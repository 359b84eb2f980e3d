"""The methods a user would otherwise pick, trained by the same loop and counted with the same ruler.

    teacher       the whole backbone fine-tuned: the first stage of every adaptation, here alone
    linear        a new classifier on the frozen backbone
    batch_norm    the classifier, and statistics, scale and shift of every norm
    adapters      those, and a 1x1 convolution beside every larger one (Rebuffi et al., 2018)
    shallow       the backbone's first blocks with a new classifier, all of it fine-tuned; as many as make up given MACs

All but `teacher` learn from the labels alone, as their authors' do. Nothing is pruned, so there is no delta.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal, get_args

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from blocks import Backbone, Plan, TailoredNet
from blocks.counting import count_params, tensors_of
from blocks.latency import latencies
from blocks.shallow import ShallowNet, depth_for
from nettailor.artifacts.report import CompactFigures, RemovedFigures, Report, TeacherFigures
from nettailor.artifacts.run_folder import RunFolder
from nettailor.environment import device_name
from nettailor.jobs.context import Context, open_context, resolve
from nettailor.jobs.measure import backbone_figures, data_figures
from nettailor.jobs.recipe import Recipe
from nettailor.progress import Display
from nettailor.training.loop import Fitted, Schedule, accuracy, fit, parameter_groups
from nettailor.training.stages import finetune

Baseline = Literal["teacher", "linear", "batch_norm", "adapters", "shallow"]
BASELINES = get_args(Baseline)
PLANS = {
    "linear": Plan(skips=0, batch_norm="source"),
    "batch_norm": Plan(skips=0, batch_norm="affine"),
    "adapters": Plan(skips=0, batch_norm="affine", adapters=True),
}
FLOAT_BYTES = 4


def run_baseline(
    method: Baseline,
    recipe: Recipe,
    out: Path,
    display: Display | None = None,
    macs: float | None = None,
    begin_with: Path | None = None,
) -> Report:
    """Train one of the other methods on a task, or go on with it; what is finished is not run again.

    It reads the recipe's data, backbone, seed and machine. A whole network trains as the recipe's teacher does; what trains
    beside a frozen backbone takes the student's epochs, learning rate and batch.

    Args:
        macs: how large a shallower cut should at least be.
        begin_with: folder of nets with a finished teacher.
    """
    display = display or Display()
    recipe = resolve(recipe)
    folder = RunFolder(out)
    if (finished := folder.look(recipe)) is not None:
        display.say(f"{out}: finished already; nothing to run")
        folder.checkpoints.remove()
        return finished
    with open_context(recipe, folder, display, begin_with=begin_with) as job:
        teacher = finetune(job.backbone, job.task, recipe.teacher, job.run)
        net, epochs = _train(method, recipe, job, teacher, macs)
        report = _measure(method, recipe, job, teacher, net, epochs)
    folder.checkpoints.hand_over("teacher", folder.nets)
    report.write(folder.report)
    folder.checkpoints.remove()
    return report


def _train(
    method: Baseline, recipe: Recipe, job: Context, teacher: Backbone, macs: float | None
) -> tuple[Backbone | TailoredNet | ShallowNet, int]:
    """The trained net, and how many passes over the data that took."""
    if method == "teacher":
        return teacher, recipe.teacher.epochs
    torch.manual_seed(job.run.seed + 1)
    classes = len(job.task.classes)
    if method == "shallow":
        shallow = ShallowNet(job.backbone, depth_for(job.backbone, macs or job.backbone.cost.macs), classes)
        config = recipe.teacher
        groups = parameter_groups(list(shallow.parameters()), config.lr, config.weight_decay)
        _fit(
            method, shallow.to(job.run.device), tensors_of(shallow), groups, Schedule(config.epochs, config.batch), job
        )
        return shallow, config.epochs
    net = TailoredNet(job.backbone, classes, PLANS[method]).to(job.run.device)
    student = recipe.student
    trained = [
        parameter for name, parameter in net.named_parameters() if parameter.requires_grad and "gates" not in name
    ]
    groups = parameter_groups(trained, student.lr, student.weight_decay)
    _fit(method, net, net.task_tensors(), groups, Schedule(student.epochs, student.batch), job)
    return net, student.epochs


def _fit(
    method: str,
    net: TailoredNet | ShallowNet,
    own: dict[str, Tensor],
    groups: list[dict[str, object]],
    schedule: Schedule,
    job: Context,
) -> Fitted:
    def step(x: Tensor, labels: Tensor, rows: Tensor) -> dict[str, Tensor]:
        loss = cross_entropy(net(x).float(), labels)
        loss.backward()
        return {"ce": loss.detach()}

    def judge(epoch: int) -> dict[str, float]:
        return {"val_accuracy": accuracy(net, job.task.val)}

    return fit(method, net, own, groups, schedule, job.task, net.spec, step, judge, job.run)


def _measure(
    method: str,
    recipe: Recipe,
    job: Context,
    teacher: Backbone,
    net: Backbone | TailoredNet | ShallowNet,
    epochs: int,
) -> Report:
    """Read the test split once for the teacher and once for the net, and count."""
    backbone, task = job.backbone, job.task
    teacher_macs = teacher.network_cost().macs
    params = count_params(tensor for name, tensor in tensors_of(net).items() if not name.startswith("gates."))
    if isinstance(net, TailoredNet):
        macs, kept = teacher_macs, backbone.depth
        own = sum(tensor.numel() for name, tensor in net.task_tensors().items() if not name.startswith("gates."))
    elif isinstance(net, ShallowNet):
        macs, kept, own = net.macs(backbone), net.depth, params
    else:
        macs, kept, own = teacher_macs, backbone.depth, params
    teacher_time, time = latencies([teacher, net], backbone.spec.size, job.run.device)
    fitted = job.run.fitted
    teacher_figures = TeacherFigures(
        accuracy(teacher, task.test),
        fitted["teacher"].judged["val_accuracy"],
        teacher_macs,
        count_params(tensors_of(teacher).values()),
        teacher_time.ms,
        teacher_time.packed_ms,
    )
    figures = CompactFigures(
        test_accuracy=teacher_figures.test_accuracy if net is teacher else accuracy(net, task.test),
        val_accuracy=fitted[method].judged["val_accuracy"],
        macs=macs,
        params=params,
        task_params=own,
        task_bytes=own * FLOAT_BYTES,
        latency_ms=time.ms,
        latency_packed_ms=time.packed_ms,
        universal_blocks_kept=kept,
        proxies_kept=0,
    )
    whole = backbone.cost
    seconds = {"teacher": fitted["teacher"].seconds}
    return Report(
        task=task.name,
        method=method,
        backbone=backbone_figures(backbone),
        data=data_figures(task, job.data_hash),
        seed=recipe.seed,
        teacher=teacher_figures,
        student=None,
        compact=figures,
        removed=RemovedFigures(1 - macs / whole.macs, 1 - params / whole.params, 1 - kept / backbone.depth),
        prune=None,
        seconds=seconds if method == "teacher" else seconds | {method: fitted[method].seconds},
        epochs={"teacher": recipe.teacher.epochs} | ({} if method == "teacher" else {method: epochs}),
        device=device_name(job.run.device),
    )
