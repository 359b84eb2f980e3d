"""Time one student step against one plain fine-tuning step, side by side in one process.

    python -m recipes.benchmarks.bench_step

    resnet18    torchvision's with random weights, 224 px, batch 16: the paper's student of 3 skips with local and with
                end-to-end matching
    embedded    resnet34_tiny, 32 px, batch 64, 10 classes: the student of the default recipe, which has the teacher's answers
                to its fixed views (default), and as it would be without views (student.views=0: answers_anew)

Two CPU threads. A student step is the teacher's forward where its answers are not known, the student's forward, all
gradients, their clipping and the optimiser; a plain step fine-tunes the same network whole. In every round each step runs
once, in an order drawn anew, until the bootstrap 95 % interval of each ratio of medians is within 5 % of it (or after
--most rounds, which is said).

Expected on two cores: at most 1.0 on the ResNet-18, with local and with end-to-end matching; the default student on
the embedded backbone costs 1.6 to 1.7 plain steps with the answers known. The ResNet-18's figures measured here are in
docs/bench/step.json; the embedded backbone's in step_embedded.json (`--networks embedded`), as a step is trained now.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torchvision
from torch import nn
from torch.nn.functional import cross_entropy

from blocks import Backbone, InputSpec, Plan, TailoredNet
from blocks.latency import Turns, Until, time_in_turn
from nettailor.backbones.load import load_backbone
from nettailor.environment import versions
from nettailor.files import write_json
from nettailor.training.config import StudentConfig, TeacherConfig
from nettailor.training.loop import LARGEST_GRADIENT, parameter_groups
from nettailor.training.losses import backward
from nettailor.training.rates import RATES, STUDENT_FACTOR
from nettailor.training.stages import live_parameters, plan_of

PLAIN = "plain"
PAPER_CLASSES, PAPER_PLAN = 100, Plan(3, "conv1x1", "softmax", "source")
PAPER = {"gates": "softmax", "batch_norm": "source", "distill_weight": 0.0, "complexity": "paper"}
DEFAULT_CLASSES = 10
Steps = dict[str, Callable[[], None]]


def training_step(net: nn.Module, groups: list[dict[str, Any]], gradients: Callable[[], object]) -> Callable[[], None]:
    """What `nettailor.training.loop` does with one batch."""
    optimizer = torch.optim.AdamW(groups)
    trained = [parameter for group in groups for parameter in group["params"]]

    def step() -> None:
        net.train()
        optimizer.zero_grad()
        gradients()
        nn.utils.clip_grad_norm_(trained, LARGEST_GRADIENT)
        optimizer.step()

    return step


def plain_step(teacher: Backbone, x: torch.Tensor, labels: torch.Tensor) -> Callable[[], None]:
    """A step of fine-tuning a whole copy of the backbone."""
    config = TeacherConfig()
    groups = parameter_groups(list(teacher.parameters()), RATES[0], config.weight_decay)
    return training_step(teacher, groups, lambda: cross_entropy(teacher(x), labels).backward())


def student_step(
    student: TailoredNet, teacher: Backbone, config: StudentConfig, x: torch.Tensor, labels: torch.Tensor, known: bool
) -> Callable[[], None]:
    """A step of training a student.

    Args:
        known: the teacher's answers are; otherwise its forward is a part of the step.
    """
    teacher = teacher.frozen_copy()
    with torch.no_grad():
        targets = [teacher(x)] if known else None
    groups = parameter_groups(live_parameters(student), STUDENT_FACTOR * RATES[0], config.weight_decay)
    groups.append({"params": [student.gates.logits], "lr": config.gate_lr, "weight_decay": 0.0})
    return training_step(student, groups, lambda: backward(student, teacher, x, labels, config, targets))


def batch_of(backbone: Backbone, batch: int, classes: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Random pictures and labels."""
    x = torch.randn(batch, 3, backbone.spec.size, backbone.spec.size).contiguous(memory_format=torch.channels_last)
    return x, torch.randint(classes, (batch,))


def resnet18_steps(size: int, batch: int) -> Steps:
    """The paper's student over a ResNet-18 with random weights."""
    model = torchvision.models.resnet18().to(memory_format=torch.channels_last)
    backbone = Backbone(model, InputSpec(size, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)), "torchvision/resnet18")
    x, labels = batch_of(backbone, batch, PAPER_CLASSES)
    teacher = backbone.teacher(PAPER_CLASSES)
    steps = {PLAIN: plain_step(backbone.teacher(PAPER_CLASSES), x, labels)}
    for matching in ("local", "end_to_end"):
        config = StudentConfig(matching=matching, **PAPER)  # type: ignore[arg-type]
        student = TailoredNet(backbone, PAPER_CLASSES, PAPER_PLAN)
        steps[matching] = student_step(student, teacher, config, x, labels, known=False)
    return steps


def embedded_steps(batch: int) -> Steps:
    """The default recipe's student over the backbone that comes with the package."""
    backbone, config = load_backbone(), StudentConfig()
    x, labels = batch_of(backbone, batch, DEFAULT_CLASSES)
    steps = {PLAIN: plain_step(backbone.teacher(DEFAULT_CLASSES), x, labels)}
    for name, known in (("default", True), ("answers_anew", False)):
        student = TailoredNet(backbone, DEFAULT_CLASSES, plan_of(config))
        steps[name] = student_step(student, backbone.teacher(DEFAULT_CLASSES), config, x, labels, known)
    return steps


def show(network: str, turns: Turns, until: Until) -> dict[str, Any]:
    """Print one network's figures and return them."""
    rounds = len(turns.ms[PLAIN])
    print(f"{network}, {rounds} rounds")
    print(f"  {PLAIN:<11} {turns.timing(PLAIN).ms:8.1f} ms")
    ratios = turns.ratios(PLAIN)
    for name, ratio in ratios.items():
        print(f"  {name:<11} {turns.timing(name).ms:8.1f} ms   {ratio} of a plain step")
    if not until.reached(turns):
        print(
            f"  an interval is still wider than {until.width:.0%}; measure on an idle machine, or with a larger --most"
        )
    found = {name: {"value": ratio.value, "interval": [ratio.low, ratio.high]} for name, ratio in ratios.items()}
    return {"network": network, "rounds": rounds, "ratios": found, "ms": turns.ms}


def main(arguments: list[str] | None = None) -> list[dict[str, Any]]:
    """Measure, print, and return a row for each network: the ratios of each step's median to the plain step's."""
    parser = argparse.ArgumentParser(
        prog="python -m recipes.benchmarks.bench_step", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--networks", nargs="+", choices=["resnet18", "embedded"], default=["resnet18", "embedded"])
    parser.add_argument("--runs", type=int, default=15, help="rounds, at least")
    parser.add_argument("--most", type=int, default=200, help="rounds, at most")
    parser.add_argument("--width", type=float, default=0.05, help="of the intervals, as a part of the ratio")
    parser.add_argument("--warmup", type=int, default=2)
    parser.add_argument("--batch", type=int, default=16, help="of the ResNet-18")
    parser.add_argument("--size", type=int, default=224, help="of the ResNet-18's pictures")
    parser.add_argument("--embedded-batch", type=int, default=64)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="also write the figures as JSON")
    options = parser.parse_args(arguments)
    torch.manual_seed(options.seed)
    until = Until(PLAIN, options.width, options.most)
    rows = []
    for network in options.networks:
        if network == "resnet18":
            steps = resnet18_steps(options.size, options.batch)
        else:
            steps = embedded_steps(options.embedded_batch)
        turns = time_in_turn(steps, options.threads, options.runs, options.warmup, options.seed, until)
        rows.append(show(network, turns, until))
    if options.out is not None:
        settings = {key: str(value) for key, value in vars(options).items()}
        write_json(options.out, {"options": settings, "versions": versions(), "rows": rows})
    return rows


if __name__ == "__main__":
    main()
