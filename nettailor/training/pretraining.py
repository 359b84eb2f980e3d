"""Pretraining a network from random weights on pictures of classes: what the embedded backbone came of, and small sources.

    pictures (N, 3, 40, 40) -> random 32 px crops, flips -> SGD with Nesterov momentum, warm-up and cosine -> weights

A pass's order and crops depend on seed and pass alone, and the network, its momentum and its time are in the checkpoint after
every pass; so a training that was stopped goes on as if it had not been. Evaluation sees the middle of a picture.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass as settings
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from blocks import InputSpec
from nettailor.errors import TrainingError
from nettailor.files import read_tensors, write_tensors
from nettailor.schema import STRICT, Count, NotNegative, Positive

MARGIN = 1.25  # side of the pictures that random crops are taken from, as a multiple of the crops': 40 px for 32
WARMUP_EPOCHS = 3
MOMENTUM = 0.9
LABEL_SMOOTHING = 0.1
EVALUATION_BATCH = 500


@settings(config=STRICT, frozen=True)
class PretrainConfig:
    """How a network is pretrained; the defaults are the embedded backbone's."""

    epochs: Count = 100
    batch: Annotated[int, Field(ge=2)] = 256
    lr: Annotated[Positive, Field(description="peak learning rate")] = 0.3
    decay: Annotated[NotNegative, Field(description="weight decay of convolutions and classifier")] = 5e-4
    seed: Annotated[int, Field(ge=0)] = 0


@dataclass(frozen=True)
class Pictures:
    """Pictures (N, 3, H, W) uint8, larger than the network's input by `MARGIN`, and labels (N,)."""

    images: Tensor
    labels: Tensor


@dataclass(frozen=True)
class Pass:
    """What one pass ended with: its mean loss, and the parts of the validation pictures that were right, if there are any."""

    number: int
    loss: float
    top1: float | None
    top5: float | None


def picture_side(spec: InputSpec) -> int:
    """Side in pixels of the pictures that random crops are taken from."""
    return round(MARGIN * spec.size)


def normalise(images: Tensor, spec: InputSpec) -> Tensor:
    """uint8 (B, 3, H, W) to the network's normalised float input, channels last in memory."""
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (spec.mean, spec.std))
    return ((images.float() / 255 - mean) / std).contiguous(memory_format=torch.channels_last)


def random_crops(images: Tensor, size: int, generator: torch.Generator) -> Tensor:
    """Random crops of (B, 3, H, W), `size` px wide and high, half of them flipped: one offset per picture."""
    count, _, height, width = images.shape
    top = torch.randint(height - size + 1, (count, 1, 1), generator=generator)
    left = torch.randint(width - size + 1, (count, 1, 1), generator=generator)
    rows = top + torch.arange(size).view(1, size, 1)
    columns = left + torch.arange(size).view(1, 1, size)
    flipped = torch.rand((count, 1, 1), generator=generator) < 0.5
    columns = torch.where(flipped, columns.flip(2), columns)
    return images[torch.arange(count).view(-1, 1, 1), :, rows, columns].permute(0, 3, 1, 2)


def middle_crops(images: Tensor, size: int) -> Tensor:
    """The middle of (B, 3, H, W), `size` px wide and high."""
    top, left = ((side - size) // 2 for side in images.shape[2:])
    return images[:, :, top : top + size, left : left + size]


def learning_rate(peak: float, position: float, epochs: int) -> float:
    """Linear warm-up, then a cosine down to zero; `position` counts passes with fractions."""
    if position < WARMUP_EPOCHS:
        return peak * (position + 0.05) / (WARMUP_EPOCHS + 0.05)
    return peak * 0.5 * (1 + math.cos(math.pi * (position - WARMUP_EPOCHS) / max(1, epochs - WARMUP_EPOCHS)))


def train_epoch(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    data: Pictures,
    epoch: int,
    config: PretrainConfig,
    spec: InputSpec,
    show: Callable[[dict[str, float]], None] = lambda losses: None,
) -> float:
    """One pass over the training pictures; its order and crops depend on seed and pass alone. Returns the mean loss.

    Raises:
        TrainingError: the loss is not finite.
    """
    generator = torch.Generator().manual_seed(config.seed * 100_003 + epoch)
    order = torch.randperm(len(data.labels), generator=generator)
    steps = steps_of(data, config)
    model.train()
    total = 0.0
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(config.lr, epoch + step / steps, config.epochs)
        rows = order[step * config.batch : (step + 1) * config.batch]
        inputs = normalise(random_crops(data.images[rows], spec.size, generator), spec)
        loss = cross_entropy(model(inputs), data.labels[rows], label_smoothing=LABEL_SMOOTHING)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        show({"loss": float(loss.detach())})
        total += float(loss.detach())
    if not math.isfinite(total):
        raise TrainingError(f"pretraining: the loss is not finite in pass {epoch + 1}; lower its learning rate")
    return total / steps


def steps_of(data: Pictures, config: PretrainConfig) -> int:
    """Batches of a pass: the pictures that do not fill the last one wait for another pass."""
    return max(1, len(data.labels) // config.batch)


@torch.inference_mode()
def top1_and_top5(model: nn.Module, data: Pictures, spec: InputSpec) -> tuple[float, float]:
    """Fractions of pictures whose class is the first, and among the first five, of the answers."""
    model.eval()
    hits = torch.zeros(2)
    for start in range(0, len(data.labels), EVALUATION_BATCH):
        part = slice(start, start + EVALUATION_BATCH)
        answers = model(normalise(middle_crops(data.images[part], spec.size), spec))
        right = answers.topk(min(5, answers.shape[1])).indices == data.labels[part, None]
        hits += torch.tensor([right[:, 0].sum(), right.any(1).sum()])
    first, five = (hits / len(data.labels)).tolist()
    return first, five


def two_groups(model: nn.Module, decay: float) -> list[dict[str, Any]]:
    """Weight decay for weights of convolutions and the classifier, none for biases and batch norms."""
    weights = [p for p in model.parameters() if p.ndim > 1]
    others = [p for p in model.parameters() if p.ndim <= 1]
    return [{"params": weights, "weight_decay": decay}, {"params": others, "weight_decay": 0.0}]


def pretrain(
    build: Callable[[], nn.Module],
    train: Pictures,
    val: Pictures | None,
    spec: InputSpec,
    config: PretrainConfig,
    checkpoint: Path,
    step: Callable[[dict[str, float]], None] = lambda losses: None,
    after: Callable[[Pass], None] = lambda done: None,
) -> nn.Module:
    """Train to the last pass, going on from the checkpoint if there is one.

    Args:
        build: makes the network with random weights; torch's generator is seeded before it.
        val: measured after every pass, for the log alone: nothing is chosen by it.
        step, after: called after every batch with its loss, and after every pass.

    Raises:
        TrainingError: the loss is not finite.
        FileError: the checkpoint can't be read or written.
    """
    torch.manual_seed(config.seed)
    model = build().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = torch.optim.SGD(two_groups(model, config.decay), lr=config.lr, momentum=MOMENTUM, nesterov=True)
    trained = [p for group in optimizer.param_groups for p in group["params"]]
    first, seconds = 0, 0.0
    if checkpoint.exists():
        tensors, notes = read_tensors(checkpoint)
        model.load_state_dict({k[6:]: v for k, v in tensors.items() if k.startswith("model.")})
        for index, parameter in enumerate(trained):
            optimizer.state[parameter]["momentum_buffer"] = tensors[f"momentum.{index}"]
        first, seconds = notes["epoch"], notes["seconds"]
    for epoch in range(first, config.epochs):
        start = time.perf_counter()
        loss = train_epoch(model, optimizer, train, epoch, config, spec, step)
        top1, top5 = (None, None) if val is None else top1_and_top5(model, val, spec)
        seconds += time.perf_counter() - start
        tensors = {f"model.{k}": v for k, v in model.state_dict().items()}
        tensors |= {f"momentum.{i}": optimizer.state[p]["momentum_buffer"] for i, p in enumerate(trained)}
        write_tensors(checkpoint, tensors, {"epoch": epoch + 1, "seconds": seconds})
        after(Pass(epoch + 1, loss, top1, top5))
    return model.eval()


def passes_done(checkpoint: Path) -> int:
    """Passes that lie behind a checkpoint; 0 where there is none."""
    return int(read_tensors(checkpoint)[1]["epoch"]) if checkpoint.exists() else 0
