"""Pretrain the embedded backbone on Tiny-ImageNet pictures, resumably, and write its weights, class names and card.

    python -m recipes.pretrain --data tiny_imagenet_40.zip

Run by hand, not in CI: about 45 minutes of two CPU cores. Expected: the figures on the card beside the weights. Stop it at
any time; the same command goes on at the epoch where it stopped.

It reads `train/` and `val/` class folders of pictures of at least 40 px, trains on random 32 px crops and flips (SGD with
Nesterov momentum, warm-up and cosine schedule, label smoothing), and measures the middle 32 px of the validation pictures
with the half-precision weights that it ships.
"""

from __future__ import annotations

import argparse
import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from nettailor.backbones import resnet34_tiny as embedded
from nettailor.data.config import DataConfig
from nettailor.data.task import Split, find_layout
from nettailor.errors import DataError
from nettailor.files import read_tensors, write_tensors, write_text

SIDE = 40  # pixels of the pictures that 32 px crops are taken from
WARMUP_EPOCHS = 3
MOMENTUM = 0.9
LABEL_SMOOTHING = 0.1
CARD = """# {name}

ResNet-34's layout (3, 4, 6, 3 basic blocks) at a quarter of its width, three 3x3 convolutions as stem, for 32 px input.

| | |
|---|---|
{table}

The validation pictures were read after every epoch for the log; nothing was chosen by them: the weights are the last epoch's.
"""


@dataclass(frozen=True)
class Pictures:
    """Pictures (N, 3, H, W) uint8 and labels (N,)."""

    images: Tensor
    labels: Tensor


def read_pictures(data: Path) -> tuple[Pictures, Pictures]:
    """Decode the `train` and `val` splits of class folders, or of a zip of them, at 40 px."""
    layout = find_layout(DataConfig(source=str(data)))
    if not {"train", "val"} <= layout.splits.keys() or len(layout.classes) != embedded.SOURCE_CLASSES:
        raise DataError(f"{data}: must have train/ and val/ folders of {embedded.SOURCE_CLASSES} classes")
    found = []
    for name in ("train", "val"):
        members = layout.splits[name]
        split = Split(
            layout.source, [picture for picture, _ in members], torch.tensor([label for _, label in members]), SIDE
        )
        found.append(Pictures(split.batch(torch.arange(len(split))), split.labels))
    return found[0], found[1]


def normalise(images: Tensor) -> Tensor:
    """uint8 (B, 3, H, W) to the backbone's normalised float input, channels last in memory."""
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in (embedded.MEAN, embedded.STD))
    return ((images.float() / 255 - mean) / std).contiguous(memory_format=torch.channels_last)


def random_crops(images: Tensor, generator: torch.Generator) -> Tensor:
    """Random 32 px crops of (B, 3, H, W), half of them flipped: one offset per picture."""
    count, _, height, width = images.shape
    size = embedded.INPUT_SIZE
    top = torch.randint(height - size + 1, (count, 1, 1), generator=generator)
    left = torch.randint(width - size + 1, (count, 1, 1), generator=generator)
    rows = top + torch.arange(size).view(1, size, 1)
    columns = left + torch.arange(size).view(1, 1, size)
    flipped = torch.rand((count, 1, 1), generator=generator) < 0.5
    columns = torch.where(flipped, columns.flip(2), columns)
    return images[torch.arange(count).view(-1, 1, 1), :, rows, columns].permute(0, 3, 1, 2)


def middle_crops(images: Tensor) -> Tensor:
    """The middle 32 px of (B, 3, H, W)."""
    top, left = ((side - embedded.INPUT_SIZE) // 2 for side in images.shape[2:])
    return images[:, :, top : top + embedded.INPUT_SIZE, left : left + embedded.INPUT_SIZE]


def learning_rate(peak: float, position: float, epochs: int) -> float:
    """Linear warm-up, then a cosine down to zero; `position` counts epochs with fractions."""
    if position < WARMUP_EPOCHS:
        return peak * (position + 0.05) / (WARMUP_EPOCHS + 0.05)
    return peak * 0.5 * (1 + math.cos(math.pi * (position - WARMUP_EPOCHS) / max(1, epochs - WARMUP_EPOCHS)))


def train_epoch(
    model: nn.Module, optimizer: torch.optim.Optimizer, data: Pictures, epoch: int, options: argparse.Namespace
) -> float:
    """One pass over the training pictures; its order and crops depend on seed and epoch alone. Returns the mean loss."""
    generator = torch.Generator().manual_seed(options.seed * 100_003 + epoch)
    order = torch.randperm(len(data.labels), generator=generator)
    steps = len(order) // options.batch
    model.train()
    total = 0.0
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(options.lr, epoch + step / steps, options.epochs)
        rows = order[step * options.batch : (step + 1) * options.batch]
        inputs = normalise(random_crops(data.images[rows], generator))
        loss = cross_entropy(model(inputs), data.labels[rows], label_smoothing=LABEL_SMOOTHING)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        total += float(loss.detach())
    return total / steps


@torch.inference_mode()
def top1_and_top5(model: nn.Module, data: Pictures) -> tuple[float, float]:
    """Fractions of pictures whose class is the first, and among the first five, of the answers."""
    model.eval()
    hits = torch.zeros(2)
    for start in range(0, len(data.labels), 500):
        labels = data.labels[start : start + 500, None]
        best = model(normalise(middle_crops(data.images[start : start + 500]))).topk(5).indices
        right = best == labels
        hits += torch.tensor([right[:, 0].sum(), right.any(1).sum()])
    first, five = (hits / len(data.labels)).tolist()
    return first, five


def two_groups(model: nn.Module, decay: float) -> list[dict[str, Any]]:
    """Weight decay for weights of convolutions and the classifier, none for biases and batch norms."""
    weights = [p for p in model.parameters() if p.ndim > 1]
    others = [p for p in model.parameters() if p.ndim <= 1]
    return [{"params": weights, "weight_decay": decay}, {"params": others, "weight_decay": 0.0}]


def pretrain(options: argparse.Namespace) -> nn.Module:
    """Train to the last epoch, going on from the checkpoint if there is one."""
    torch.manual_seed(options.seed)
    model = embedded.resnet34_tiny().to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(two_groups(model, options.decay), lr=options.lr, momentum=MOMENTUM, nesterov=True)
    trained = [p for group in optimizer.param_groups for p in group["params"]]
    first, seconds = 0, 0.0
    if options.checkpoint.exists():
        tensors, notes = read_tensors(options.checkpoint)
        model.load_state_dict({k[6:]: v for k, v in tensors.items() if k.startswith("model.")})
        for index, parameter in enumerate(trained):
            optimizer.state[parameter]["momentum_buffer"] = tensors[f"momentum.{index}"]
        first, seconds = notes["epoch"], notes["seconds"]
        print(f"going on after epoch {first}", flush=True)
    train, val = read_pictures(options.data)
    for epoch in range(first, options.epochs):
        start = time.perf_counter()
        loss = train_epoch(model, optimizer, train, epoch, options)
        top1, top5 = top1_and_top5(model, val)
        seconds += time.perf_counter() - start
        tensors = {f"model.{k}": v for k, v in model.state_dict().items()}
        tensors |= {f"momentum.{i}": optimizer.state[p]["momentum_buffer"] for i, p in enumerate(trained)}
        write_tensors(options.checkpoint, tensors, {"epoch": epoch + 1, "seconds": seconds})
        print(f"epoch {epoch + 1:3d}/{options.epochs}  loss {loss:.3f}  top-1 {top1:.4f}  top-5 {top5:.4f}", flush=True)
    model.eval()
    return model


def ship(model: nn.Module, options: argparse.Namespace) -> None:
    """Write the weights in half precision, the names of the classes, and the card with what those very weights reach."""
    halves = {
        name: tensor.half() if tensor.is_floating_point() else tensor for name, tensor in model.state_dict().items()
    }
    write_tensors(options.out, halves)
    names = find_layout(DataConfig(source=str(options.data))).classes  # in the order of the logits
    write_text(options.out.with_suffix(".classes.txt"), "\n".join(names) + "\n")
    shipped = embedded.resnet34_tiny()
    shipped.load_state_dict(read_tensors(options.out)[0])
    train, val = read_pictures(options.data)
    top1, top5 = top1_and_top5(shipped.to(memory_format=torch.channels_last), val)
    _, notes = read_tensors(options.checkpoint)
    named = ("epochs", "batch", "lr", "decay", "seed")
    settings = " ".join(f"--{name} {getattr(options, name)}" for name in named)
    trained_on = f"{len(train.labels):,} training pictures of {embedded.SOURCE_CLASSES} classes"
    rows = {
        "data": f"{options.data.name}: {trained_on}, {SIDE} px",
        "command": f"`python -m recipes.pretrain --data {options.data} {settings}`",
        "seed": options.seed,
        "epochs": options.epochs,
        "top-1": f"{top1:.4f} on {len(val.labels):,} validation pictures (middle 32 px), with these half-precision weights",
        "top-5": f"{top5:.4f}",
        "time": f"{notes['seconds'] / 60:.0f} minutes on {torch.get_num_threads()} CPU threads",
        "input": f"RGB, 32 x 32, mean {embedded.MEAN}, standard deviation {embedded.STD}",
        "versions": f"torch {torch.__version__}",
    }
    table = "\n".join(f"| {name} | {value} |" for name, value in rows.items())
    write_text(options.out.with_suffix(".md"), CARD.format(name=embedded.NAME, table=table))
    print(f"{options.out}: top-1 {top1:.4f}, top-5 {top5:.4f}")


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m recipes.pretrain", description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--data", type=Path, required=True, help="zip of train/ and val/ class folders, larger than 32 px"
    )
    parser.add_argument(
        "--out", type=Path, default=embedded.WEIGHTS, help="weights file; the card is written beside it"
    )
    parser.add_argument(
        "--checkpoint", type=Path, default=Path("runs/pretrain.safetensors"), help="where to go on from"
    )
    parser.add_argument("--epochs", type=int, default=100)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--lr", type=float, default=0.3, help="peak learning rate")
    parser.add_argument("--decay", type=float, default=5e-4, help="weight decay of convolutions and classifier")
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args(arguments)


if __name__ == "__main__":
    chosen = parse()
    ship(pretrain(chosen), chosen)
