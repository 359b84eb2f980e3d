"""Time one student step against one plain fine-tuning step, side by side in one process.

    python -m recipes.benchmarks.bench_step

ResNet-18 of torchvision with random weights, 224 px, batch 16, 3 skips, two CPU threads. A student step is the teacher's
forward, the student's forward, all gradients and the optimiser; a plain step fine-tunes the same network whole. The two
take turns, so that disturbances of the machine meet both; the ratio of their medians is what counts.

Expected on two cores: at most 1.0, with local matching (measured here: 0.97) and with end-to-end matching (0.90).
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path

import torch
import torchvision
from torch.nn.functional import cross_entropy

from blocks import Backbone, InputSpec, Plan, TailoredNet
from nettailor.files import write_json
from nettailor.training.config import StudentConfig
from nettailor.training.losses import backward

CLASSES = 100
PAPER = {"gates": "softmax", "batch_norm": "source", "distill_weight": 0.0, "complexity": "paper"}


def plain_step(teacher: Backbone, x: torch.Tensor, labels: torch.Tensor) -> Callable[[], None]:
    """A step of fine-tuning a whole copy of the backbone."""
    optimizer = torch.optim.AdamW(teacher.parameters(), lr=1e-4)

    def step() -> None:
        teacher.train()
        optimizer.zero_grad()
        cross_entropy(teacher(x), labels).backward()
        optimizer.step()

    return step


def student_step(
    backbone: Backbone, teacher: Backbone, matching: str, x: torch.Tensor, labels: torch.Tensor
) -> Callable[[], None]:
    """A step of training a student with the paper's losses, the teacher's forward included."""
    choice = StudentConfig(matching=matching, **PAPER)  # type: ignore[arg-type]
    teacher = teacher.frozen_copy()
    student = TailoredNet(backbone, CLASSES, Plan(3, "conv1x1", "softmax", "source"))
    optimizer = torch.optim.AdamW([p for p in student.parameters() if p.requires_grad], lr=1e-3)

    def step() -> None:
        student.train()
        optimizer.zero_grad()
        backward(student, teacher, x, labels, choice)
        optimizer.step()

    return step


def milliseconds(steps: dict[str, Callable[[], None]], warmup: int, runs: int) -> dict[str, list[float]]:
    """Times of each step, taken in turns."""
    times: dict[str, list[float]] = {name: [] for name in steps}
    for turn in range(warmup + runs):
        for name, step in steps.items():
            start = time.perf_counter()
            step()
            if turn >= warmup:
                times[name].append((time.perf_counter() - start) * 1000)
    return times


def main(arguments: list[str] | None = None) -> dict[str, float]:
    """Measure, print, and return the ratio of each matching's median to the plain step's."""
    parser = argparse.ArgumentParser(
        prog="python -m recipes.benchmarks.bench_step", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--runs", type=int, default=15)
    parser.add_argument("--warmup", type=int, default=2)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="also write the figures as JSON")
    options = parser.parse_args(arguments)
    torch.manual_seed(options.seed)
    torch.set_num_threads(options.threads)
    spec = InputSpec(options.size, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    model = torchvision.models.resnet18().to(memory_format=torch.channels_last)
    backbone = Backbone(model, spec, "torchvision/resnet18")
    x = torch.randn(options.batch, 3, options.size, options.size).contiguous(memory_format=torch.channels_last)
    labels = torch.randint(CLASSES, (options.batch,))
    steps = {"plain": plain_step(backbone.teacher(CLASSES), x, labels)}
    for matching in ("local", "end_to_end"):
        steps[matching] = student_step(backbone, backbone.teacher(CLASSES), matching, x, labels)
    times = milliseconds(steps, options.warmup, options.runs)
    medians = {name: sorted(taken)[len(taken) // 2] for name, taken in times.items()}
    ratios = {name: medians[name] / medians["plain"] for name in steps if name != "plain"}
    for name, median in medians.items():
        print(f"{name:<11} {median:8.1f} ms   {median / medians['plain']:.3f} of a plain step")
    if options.out is not None:
        write_json(
            options.out, {"options": json.loads(json.dumps(vars(options), default=str)), "ms": times, "ratios": ratios}
        )
    return ratios


if __name__ == "__main__":
    main()
