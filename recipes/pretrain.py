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
from pathlib import Path

import torch
from torch import nn

from blocks import InputSpec
from nettailor.backbones import resnet34_tiny as embedded
from nettailor.data.config import DataConfig
from nettailor.data.task import Split, find_layout
from nettailor.errors import DataError
from nettailor.files import read_tensors, write_tensors, write_text
from nettailor.training.pretraining import Pass, Pictures, PretrainConfig, passes_done, picture_side, top1_and_top5
from nettailor.training.pretraining import pretrain as train_from_scratch

SPEC = InputSpec(embedded.INPUT_SIZE, embedded.MEAN, embedded.STD)
SIDE = picture_side(SPEC)  # pixels of the pictures that 32 px crops are taken from
CARD = """# {name}

ResNet-34's layout (3, 4, 6, 3 basic blocks) at a quarter of its width, three 3x3 convolutions as stem, for 32 px input.

| | |
|---|---|
{table}

The validation pictures were read after every epoch for the log; nothing was chosen by them: the weights are the last epoch's.
"""


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


def pretrain(options: argparse.Namespace) -> nn.Module:
    """Train to the last epoch, going on from the checkpoint if there is one."""
    if done := passes_done(options.checkpoint):
        print(f"going on after epoch {done}", flush=True)

    def show(one: Pass) -> None:
        figures = f"loss {one.loss:.3f}  top-1 {one.top1:.4f}  top-5 {one.top5:.4f}"
        print(f"epoch {one.number:3d}/{options.epochs}  {figures}", flush=True)

    config = PretrainConfig(options.epochs, options.batch, options.lr, options.decay, options.seed)
    train, val = read_pictures(options.data)
    return train_from_scratch(embedded.resnet34_tiny, train, val, SPEC, config, options.checkpoint, after=show)


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
    top1, top5 = top1_and_top5(shipped.to(memory_format=torch.channels_last), val, SPEC)
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
